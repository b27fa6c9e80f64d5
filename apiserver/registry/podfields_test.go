package registry

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// carriedOut are the fields of a pod that do what they say, by type. Those that only some values of which are done are in the
// table of refusals as well.
var carriedOut = map[string]string{
	"PodSpec": "Volumes InitContainers Containers EphemeralContainers RestartPolicy TerminationGracePeriodSeconds ActiveDeadlineSeconds DNSPolicy " +
		"NodeSelector ServiceAccountName DeprecatedServiceAccount NodeName HostNetwork HostPID HostIPC ShareProcessNamespace SecurityContext " +
		"Hostname Subdomain Affinity SchedulerName Tolerations HostAliases PriorityClassName Priority DNSConfig ReadinessGates RuntimeClassName " +
		"EnableServiceLinks PreemptionPolicy Overhead SetHostnameAsFQDN OS HostUsers SchedulingGates",
	"Container": "Name Image Command Args WorkingDir Ports EnvFrom Env Resources ResizePolicy RestartPolicy VolumeMounts LivenessProbe " +
		"ReadinessProbe StartupProbe Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext Stdin StdinOnce TTY",
	"EphemeralContainer": "TargetContainerName",
	"SecurityContext": "Capabilities Privileged RunAsUser RunAsGroup RunAsNonRoot ReadOnlyRootFilesystem AllowPrivilegeEscalation " +
		"ProcMount SeccompProfile AppArmorProfile",
	"PodSecurityContext": "RunAsUser RunAsGroup RunAsNonRoot SupplementalGroups SupplementalGroupsPolicy FSGroup Sysctls FSGroupChangePolicy " +
		"SeccompProfile AppArmorProfile",
	"SeccompProfile": "Type LocalhostProfile", "AppArmorProfile": "Type LocalhostProfile", "Capabilities": "Add Drop", "Sysctl": "Name Value",
	"Volume": "Name", "VolumeSource": "HostPath EmptyDir Secret ConfigMap DownwardAPI Projected",
	"VolumeMount":          "Name ReadOnly RecursiveReadOnly MountPath SubPath MountPropagation SubPathExpr",
	"EmptyDirVolumeSource": "Medium SizeLimit", "HostPathVolumeSource": "Path Type",
	"SecretVolumeSource": "SecretName Items DefaultMode Optional", "ConfigMapVolumeSource": "Items DefaultMode Optional",
	"DownwardAPIVolumeSource": "Items DefaultMode", "DownwardAPIVolumeFile": "Path FieldRef ResourceFieldRef Mode",
	"ProjectedVolumeSource": "Sources DefaultMode", "VolumeProjection": "Secret DownwardAPI ConfigMap ServiceAccountToken",
	"SecretProjection": "Items Optional", "ConfigMapProjection": "Items Optional", "DownwardAPIProjection": "Items",
	"ServiceAccountTokenProjection": "Audience ExpirationSeconds Path", "KeyToPath": "Key Path Mode",
	"ContainerPort": "Name HostPort ContainerPort Protocol HostIP", "ContainerResizePolicy": "ResourceName RestartPolicy",
	"ResourceRequirements": "Limits Requests",
	"EnvVar":               "Name Value ValueFrom", "EnvVarSource": "FieldRef ResourceFieldRef ConfigMapKeyRef SecretKeyRef",
	"EnvFromSource": "Prefix ConfigMapRef SecretRef", "ConfigMapEnvSource": "Optional", "SecretEnvSource": "Optional",
	"ConfigMapKeySelector": "Key Optional", "SecretKeySelector": "Key Optional",
	"ObjectFieldSelector": "APIVersion FieldPath", "ResourceFieldSelector": "ContainerName Resource Divisor", "LocalObjectReference": "Name",
	"Probe":        "InitialDelaySeconds TimeoutSeconds PeriodSeconds SuccessThreshold FailureThreshold TerminationGracePeriodSeconds",
	"ProbeHandler": "Exec HTTPGet TCPSocket GRPC", "LifecycleHandler": "Exec HTTPGet TCPSocket Sleep", "Lifecycle": "PostStart PreStop",
	"ExecAction": "Command", "HTTPGetAction": "Path Port Host Scheme HTTPHeaders", "HTTPHeader": "Name Value", "TCPSocketAction": "Port Host",
	"GRPCAction": "Port Service", "SleepAction": "Seconds",
	"Affinity": "NodeAffinity", "NodeAffinity": "RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution",
	"NodeSelector": "NodeSelectorTerms", "NodeSelectorTerm": "MatchExpressions MatchFields", "NodeSelectorRequirement": "Key Operator Values",
	"PreferredSchedulingTerm": "Weight Preference", "Toleration": "Key Operator Value Effect TolerationSeconds",
	"HostAlias": "IP Hostnames", "PodDNSConfig": "Nameservers Searches Options", "PodDNSConfigOption": "Name Value",
	"PodReadinessGate": "ConditionType", "PodOS": "Name", "PodSchedulingGate": "Name",
}

// TestPodFields: every field of a pod that this version of the API has is carried out, refused, or told in a warning. One that is
// new fails here until somebody has decided. What lies below a field that is refused or told needs no decision.
func TestPodFields(t *testing.T) {
	seen := map[reflect.Type]bool{}
	decided := map[string]bool{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ.PkgPath() != apiPackage || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				visit(f.Type)
				continue
			}
			owner := owningType(typ)
			name := owner + "." + f.Name
			done := slices.Contains(strings.Fields(carriedOut[owner]), f.Name)
			_, not := refused[name]
			_, told := ignored[name]
			if !done && !not && !told || told && (done || not) {
				t.Errorf("%s: carried out %v, refused %v, told %v", name, done, not, told)
			}
			decided[name] = true
			if done {
				visit(f.Type)
			}
		}
	}
	visit(reflect.TypeFor[corev1.PodSpec]())
	for name := range refused {
		if !decided[name] {
			t.Errorf("%s is refused, and no pod can have it", name)
		}
	}
	for owner, fields := range carriedOut {
		for _, f := range strings.Fields(fields) {
			if !decided[owner+"."+f] {
				t.Errorf("%s.%s is carried out, and no pod can have it", owner, f)
			}
		}
	}
}
