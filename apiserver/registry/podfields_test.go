package registry

import (
	"os"
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
		"NodeSelector ServiceAccountName AutomountServiceAccountToken DeprecatedServiceAccount NodeName HostNetwork HostPID HostIPC ShareProcessNamespace SecurityContext " +
		"ImagePullSecrets Hostname Subdomain Affinity SchedulerName Tolerations HostAliases PriorityClassName Priority DNSConfig ReadinessGates RuntimeClassName " +
		"EnableServiceLinks PreemptionPolicy Overhead SetHostnameAsFQDN OS HostUsers SchedulingGates Resources HostnameOverride " +
		"TopologySpreadConstraints",
	"Container": "Name Image Command Args WorkingDir Ports EnvFrom Env Resources ResizePolicy RestartPolicy RestartPolicyRules VolumeMounts LivenessProbe " +
		"ReadinessProbe StartupProbe Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext Stdin StdinOnce TTY",
	"EphemeralContainer": "TargetContainerName",
	"SecurityContext": "Capabilities Privileged RunAsUser RunAsGroup RunAsNonRoot ReadOnlyRootFilesystem AllowPrivilegeEscalation " +
		"ProcMount SeccompProfile AppArmorProfile",
	"PodSecurityContext": "RunAsUser RunAsGroup RunAsNonRoot SupplementalGroups SupplementalGroupsPolicy FSGroup Sysctls FSGroupChangePolicy " +
		"SeccompProfile AppArmorProfile",
	"SeccompProfile": "Type LocalhostProfile", "AppArmorProfile": "Type LocalhostProfile", "Capabilities": "Add Drop", "Sysctl": "Name Value",
	"Volume": "Name", "VolumeSource": "HostPath EmptyDir Secret ConfigMap DownwardAPI Projected PersistentVolumeClaim Ephemeral CSI",
	"PersistentVolumeClaimVolumeSource": "ClaimName ReadOnly", "EphemeralVolumeSource": "VolumeClaimTemplate", "PersistentVolumeClaimTemplate": "Spec",
	"CSIVolumeSource": "Driver ReadOnly FSType VolumeAttributes NodePublishSecretRef", // the node says that it has no such driver
	// What a claim asks for is its provisioner's to do or to refuse.
	"PersistentVolumeClaimSpec":  "AccessModes Selector Resources VolumeName StorageClassName VolumeMode DataSource DataSourceRef VolumeAttributesClassName",
	"VolumeResourceRequirements": "Limits Requests", "TypedLocalObjectReference": "APIGroup Kind Name", "TypedObjectReference": "APIGroup Kind Name Namespace",
	"VolumeMount":          "Name ReadOnly RecursiveReadOnly MountPath SubPath MountPropagation SubPathExpr",
	"EmptyDirVolumeSource": "Medium SizeLimit", "HostPathVolumeSource": "Path Type",
	"SecretVolumeSource": "SecretName Items DefaultMode Optional", "ConfigMapVolumeSource": "Items DefaultMode Optional",
	"DownwardAPIVolumeSource": "Items DefaultMode", "DownwardAPIVolumeFile": "Path FieldRef ResourceFieldRef Mode",
	"ProjectedVolumeSource": "Sources DefaultMode", "VolumeProjection": "Secret DownwardAPI ConfigMap ServiceAccountToken ClusterTrustBundle PodCertificate",
	"ClusterTrustBundleProjection": "Name SignerName LabelSelector Optional Path",
	"PodCertificateProjection":     "SignerName KeyType MaxExpirationSeconds CredentialBundlePath KeyPath CertificateChainPath UserAnnotations",
	"SecretProjection":             "Items Optional", "ConfigMapProjection": "Items Optional", "DownwardAPIProjection": "Items",
	"ServiceAccountTokenProjection": "Audience ExpirationSeconds Path", "KeyToPath": "Key Path Mode",
	"ContainerPort": "Name HostPort ContainerPort Protocol HostIP", "ContainerResizePolicy": "ResourceName RestartPolicy",
	"ResourceRequirements": "Limits Requests",
	"EnvVar":               "Name Value ValueFrom", "EnvVarSource": "FieldRef ResourceFieldRef ConfigMapKeyRef SecretKeyRef FileKeyRef",
	"EnvFromSource": "Prefix ConfigMapRef SecretRef", "ConfigMapEnvSource": "Optional", "SecretEnvSource": "Optional",
	"ConfigMapKeySelector": "Key Optional", "SecretKeySelector": "Key Optional", "FileKeySelector": "VolumeName Path Key Optional",
	"ContainerRestartRule": "Action ExitCodes", "ContainerRestartRuleOnExitCodes": "Operator Values",
	"ObjectFieldSelector": "APIVersion FieldPath", "ResourceFieldSelector": "ContainerName Resource Divisor", "LocalObjectReference": "Name",
	"Probe":        "InitialDelaySeconds TimeoutSeconds PeriodSeconds SuccessThreshold FailureThreshold TerminationGracePeriodSeconds",
	"ProbeHandler": "Exec HTTPGet TCPSocket GRPC", "LifecycleHandler": "Exec HTTPGet TCPSocket Sleep", "Lifecycle": "PostStart PreStop",
	"ExecAction": "Command", "HTTPGetAction": "Path Port Host Scheme HTTPHeaders", "HTTPHeader": "Name Value", "TCPSocketAction": "Port Host",
	"GRPCAction": "Port Service", "SleepAction": "Seconds",
	"Affinity": "NodeAffinity PodAffinity PodAntiAffinity", "NodeAffinity": "RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution",
	"NodeSelector": "NodeSelectorTerms", "NodeSelectorTerm": "MatchExpressions MatchFields", "NodeSelectorRequirement": "Key Operator Values",
	"PodAffinity":     "RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution",
	"PodAntiAffinity": "RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution",
	"PodAffinityTerm": "LabelSelector Namespaces TopologyKey NamespaceSelector MatchLabelKeys MismatchLabelKeys", "WeightedPodAffinityTerm": "Weight PodAffinityTerm",
	"TopologySpreadConstraint": "MaxSkew TopologyKey WhenUnsatisfiable LabelSelector MinDomains NodeAffinityPolicy NodeTaintsPolicy MatchLabelKeys",
	"PreferredSchedulingTerm":  "Weight Preference", "Toleration": "Key Operator Value Effect TolerationSeconds",
	"HostAlias": "IP Hostnames", "PodDNSConfig": "Nameservers Searches Options", "PodDNSConfigOption": "Name Value",
	"PodReadinessGate": "ConditionType", "PodOS": "Name", "PodSchedulingGate": "Name",
}

// TestPodFields: every field of a pod that this version of the API has is carried out, refused, or told in a warning. One that is
// new fails here until somebody has decided. What lies below a field that is refused or told needs no decision.
func TestPodFields(t *testing.T) {
	seen := map[reflect.Type]bool{}
	decided := map[string]bool{}
	var rows []string
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
			rows = append(rows, fieldRow(name, done))
			if done {
				visit(f.Type)
			}
		}
	}
	visit(reflect.TypeFor[corev1.PodSpec]())
	document(t, rows)
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

// fieldRow is the row of docs/pods.md about a field.
func fieldRow(name string, done bool) string {
	r, refuses := refused[name]
	switch {
	case refuses && done:
		return "| `" + name + "` | done, but for what is refused: " + r.why + " |"
	case refuses:
		return "| `" + name + "` | refused: " + r.why + " |"
	case done:
		return "| `" + name + "` | done |"
	}
	return "| `" + name + "` | a warning: " + ignored[name] + " |"
}

// document holds the rows against those of docs/pods.md.
func document(t *testing.T, rows []string) {
	text, err := os.ReadFile("../../docs/pods.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n## Every field\n")
	if !ok {
		t.Fatal("docs/pods.md has no table of every field")
	}
	var has []string
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| `") {
			has = append(has, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(has, rows) {
		t.Errorf("the table of every field in docs/pods.md should be\n%s", strings.Join(rows, "\n"))
	}
}
