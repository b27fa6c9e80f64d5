package registry_test

import "testing"

// with is a manifest of a pod with further fields.
func with(fields string) string {
	return podManifest("containers: [{name: a, image: x}], " + fields)
}

// volume is a manifest of a pod with one volume of this source.
func volume(source string) string { return with("volumes: [{name: v, " + source + "}]") }

// mount is a manifest of a pod whose container mounts its one volume with these fields.
func mount(fields string) string {
	return podManifest("volumes: [{name: v, emptyDir: {}}], containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /v, " + fields + "}]}]")
}

// TestPodWords: a word that the API does not know is refused, and the field is named. A misspelling must never run as something else.
func TestPodWords(t *testing.T) {
	refusals{
		{"container restart policy", podManifest("containers: [{name: a, image: x}], initContainers: [{name: i, image: x, restartPolicy: always}]"), `spec.initContainers[0].restartPolicy: Unsupported value: "always": supported values: "Always"`},
		{"restart policy of a main container", container("restartPolicy: always"), `spec.containers[0].restartPolicy: Unsupported value: "always": supported values: "Always", "Never", "OnFailure"`},
		{"restart policies of containers", podManifest("containers: [{name: a, image: x, restartPolicy: OnFailure}], initContainers: [{name: i, image: x, restartPolicy: Never}]"), ""},
		{"rules without a policy", container("restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]"), "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"},
		{"rule's action", container("restartPolicy: Never, restartPolicyRules: [{action: restart, exitCodes: {operator: In, values: [1]}}]"), `spec.containers[0].restartPolicyRules[0].action: Unsupported value: "restart": supported values: "Restart", "RestartAllContainers"`},
		{"rule's operator", container("restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: in, values: [1]}}]"), `spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "in": supported values: "In", "NotIn"`},
		{"rules", container("restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: NotIn, values: [0]}}]"), ""},
		{"host name", with("hostnameOverride: A_b"), `spec.hostnameOverride: Invalid value: "A_b"`},
		{"host name of the node", with("hostNetwork: true, hostnameOverride: a.b"), "spec.hostnameOverride: Forbidden"},
		{"variable of a file without volume", container("env: [{name: A, valueFrom: {fileKeyRef: {path: p, key: k, volumeName: w}}}]"), `spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName`},
		{"termination message policy", container("terminationMessagePolicy: file"), `spec.containers[0].terminationMessagePolicy: Unsupported value: "file": supported values: "File", "FallbackToLogsOnError"`},
		{"protocol", container("ports: [{containerPort: 1, protocol: tcp}]"), `spec.containers[0].ports[0].protocol: Unsupported value: "tcp"`},
		{"hostPath type", volume("hostPath: {path: /tmp, type: directory}"), `spec.volumes[0].hostPath.type: Unsupported value: "directory": supported values: "", "BlockDevice"`},
		{"medium", volume("emptyDir: {medium: memory}"), "spec.volumes[0].emptyDir.medium: Forbidden: only Memory may be set"},
		{"propagation", mount("mountPropagation: hostToContainer"), `spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "hostToContainer": supported values: "Bidirectional", "HostToContainer", "None"`},
		{"propagation without privilege", mount("mountPropagation: Bidirectional"), "Bidirectional mount propagation is available only to privileged containers"},
		{"recursive read-only", mount("readOnly: true, recursiveReadOnly: enabled"), `spec.containers[0].volumeMounts.recursiveReadOnly: Unsupported value: "enabled": supported values: "Disabled", "Enabled", "IfPossible"`},
		{"fsGroupChangePolicy", with("securityContext: {fsGroupChangePolicy: always}"), `spec.securityContext.fsGroupChangePolicy: Unsupported value: "always": supported values: "Always", "OnRootMismatch"`},
		{"supplementalGroupsPolicy", with("securityContext: {supplementalGroupsPolicy: strict}"), `spec.securityContext.supplementalGroupsPolicy: Unsupported value: "strict": supported values: "Merge", "Strict"`},
		{"seLinuxChangePolicy", with("securityContext: {seLinuxChangePolicy: recursive}"), `spec.securityContext.seLinuxChangePolicy: Unsupported value: "recursive": supported values: "MountOption", "Recursive"`},
		{"seccomp of a pod", with("securityContext: {seccompProfile: {type: runtime/default}}"), `spec.securityContext.seccompProfile.type: Unsupported value: "runtime/default": supported values: "Localhost", "RuntimeDefault", "Unconfined"`},
		{"seccomp of a container", container("securityContext: {seccompProfile: {type: RuntimeDefualt}}"), `spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "RuntimeDefualt"`},
		{"seccomp without type", container("securityContext: {seccompProfile: {}}"), "spec.containers[0].securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set"},
		{"seccomp without file", container("securityContext: {seccompProfile: {type: Localhost}}"), "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"},
		{"seccomp file outside", container("securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../../x}}"), `localhostProfile: Invalid value: "../../x": must not contain '..'`},
		{"seccomp file for nothing", container("securityContext: {seccompProfile: {type: Unconfined, localhostProfile: x}}"), "can only be set when seccomp type is Localhost"},
		{"AppArmor", container("securityContext: {appArmorProfile: {type: unconfined}}"), `spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: "unconfined": supported values: "Localhost", "RuntimeDefault", "Unconfined"`},
		{"AppArmor without name", with("securityContext: {appArmorProfile: {type: Localhost}}"), "spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost"},
		{"procMount", container("securityContext: {procMount: unmasked}"), `spec.containers[0].securityContext.procMount: Unsupported value: "unmasked": supported values: "Default", "Unmasked"`},
		{"procMount Unmasked", container("securityContext: {procMount: Unmasked}"), "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"},
		{"capability", container("securityContext: {capabilities: {drop: [NET_RAWW]}}"), `spec.containers[0].securityContext.capabilities.drop[0]: Unsupported value: "NET_RAWW"`},
		{"capabilities", container("securityContext: {capabilities: {drop: [all], add: [CAP_NET_ADMIN, sys_time]}}"), ""},
		{"sysctl", with("securityContext: {sysctls: [{name: foo-, value: a}]}"), `spec.securityContext.sysctls[0].name: Invalid value: "foo-": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`},
		{"sysctl of the host", with("hostNetwork: true, securityContext: {sysctls: [{name: net/ipv4/tcp_rmem, value: a}]}"), "may not be specified when 'hostNetwork' is true"},
		{"shared processes", with("hostPID: true, shareProcessNamespace: true"), "ShareProcessNamespace and HostPID cannot both be enabled"},
		{"scheme", container("readinessProbe: {httpGet: {port: 80, scheme: https}}"), `spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "https": supported values: "HTTP", "HTTPS"`},
		{"probe's port", container("readinessProbe: {tcpSocket: {port: 70000}}"), "spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: 70000: must be between 1 and 65535, inclusive"},
		{"gRPC port", container("readinessProbe: {grpc: {port: 0}}"), "spec.containers[0].readinessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"probe's header", container("readinessProbe: {httpGet: {port: 80, httpHeaders: [{name: 'a b', value: c}]}}"), `spec.containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: "a b"`},
		{"sleep", container("lifecycle: {preStop: {sleep: {seconds: 31}}}"), "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"},
		{"two hooks", container("lifecycle: {preStop: {sleep: {seconds: 1}, exec: {command: [a]}}}"), "spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type"},
		{"readiness gate", with("readinessGates: [{conditionType: 'a b'}]"), `spec.readinessGates[0].conditionType: Invalid value: "a b"`},
		{"scheduling gate", with("schedulingGates: [{name: 'a b'}]"), `spec.schedulingGates[0]: Invalid value: "a b"`},
		{"gate and node", with("nodeName: n1, schedulingGates: [{name: a}]"), "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
		{"toleration's operator", with("tolerations: [{key: a, operator: exists}]"), `spec.tolerations[0].operator: Unsupported value: "exists": supported values: "Equal", "Exists"`},
		{"toleration's effect", with("tolerations: [{key: a, effect: noSchedule}]"), `spec.tolerations[0].effect: Unsupported value: "noSchedule"`},
		{"spread", with("topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: doNotSchedule}]"), `spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "doNotSchedule": supported values: "DoNotSchedule", "ScheduleAnyway"`},
		{"spread's policy", with("topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: honor}]"), `spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: "honor": supported values: "Honor", "Ignore"`},
		{"skew", with("topologySpreadConstraints: [{maxSkew: 0, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]"), "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"},
		{"node affinity", with("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: in, values: [b]}]}]}}}"), `nodeSelectorTerms[0].matchExpressions[0].operator: Invalid value: "in": not a valid selector operator`},
		{"node affinity's weight", with("affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, preference: {}}]}}"), "weight: Invalid value: 0: must be in the range 1-100"},
		{"pod affinity", with("affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {}}]}}"), "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty"},
		{"operating system", with("os: {name: linus}"), `spec.os: Unsupported value: "linus": supported values: "linux", "windows"`},
		{"no operating system", with("os: {}"), "spec.os.name: Required value"},
		{"resize", container("resizePolicy: [{resourceName: disk, restartPolicy: NotRequired}]"), `spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"`},
		{"resize's restart", container("resizePolicy: [{resourceName: cpu, restartPolicy: restart}]"), `spec.containers[0].resizePolicy: Unsupported value: "restart": supported values: "NotRequired", "RestartContainer"`},
		{"amount", container("resources: {requests: {cpu: -1}}"), `spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0`},
		{"extended resource in parts", container("resources: {limits: {example.com/gpu: 500m}}"), `spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer`},
		{"extended resource overcommitted", container("resources: {limits: {example.com/gpu: 2}, requests: {example.com/gpu: 1}}"), "must be equal to example.com/gpu limit of 2"},
		{"field", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.nam}}}]"), `spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.nam": error converting fieldPath: field label not supported: metadata.nam`},
		{"field without a value", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]"), `fieldPath: Unsupported value: "status.phase": supported values: "metadata.name"`},
		{"field's key", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a b']\"}}}]"), `spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: "a b"`},
		{"resource field", container("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpus}}}]"), `resourceFieldRef.resource: Unsupported value: "limits.cpus": supported values: "limits.cpu", "limits.ephemeral-storage"`},
		{"divisor", container("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 10m}}}]"), "only divisor's values 1m and 1 are supported with the cpu resource"},
		{"file of the pod", volume("downwardAPI: {items: [{path: a, fieldRef: {fieldPath: status.podIP}}]}"), `spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations"`},
		{"file that is the volume's own", volume("configMap: {name: c, items: [{key: a, path: ..data}]}"), `spec.volumes[0].configMap.items[0].path: Invalid value: "..data": must not start with '..'`},
		{"mode", volume("secret: {secretName: c, defaultMode: 512}"), "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"},
		{"paths twice", volume("projected: {sources: [{configMap: {name: c, items: [{key: a, path: p}]}}, {secret: {name: s, items: [{key: a, path: p}]}}]}"), `spec.volumes[0].projected: Invalid value: "s": conflicting duplicate paths`},
		{"two sources in one", volume("projected: {sources: [{configMap: {name: c}, secret: {name: s}}]}"), "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"},
	}.run(t, start(t))
}

// TestPodWordsInTemplates: what no pod may have, no template may have either.
func TestPodWordsInTemplates(t *testing.T) {
	template := func(kind, fields string) string {
		return "{apiVersion: apps/v1, kind: " + kind + ", metadata: {name: x}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: x}], " + fields + "}}}}"
	}
	refusals{
		{"seccomp in a Deployment", template("Deployment", "securityContext: {seccompProfile: {type: none}}"), `spec.template.spec.securityContext.seccompProfile.type: Unsupported value: "none"`},
		{"a user namespace in a Deployment", template("Deployment", "hostUsers: false"), "spec.template.spec.hostUsers: Forbidden: user namespaces are not supported: may only be true"},
		{"windows in a ReplicaSet", template("ReplicaSet", "os: {name: windows}"), "spec.template.spec.os.name: Forbidden: every node of this cluster runs linux"},
		{"preemption policy", template("ReplicaSet", "preemptionPolicy: never"), `spec.template.spec.preemptionPolicy: Unsupported value: "never": supported values: "PreemptLowerPriority", "Never"`},
		{"overhead", template("ReplicaSet", "overhead: {cpus: 1}"), `spec.template.spec.overhead.limits[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified`},
		{"runtime class's name", template("ReplicaSet", "runtimeClassName: A_b"), `spec.template.spec.runtimeClassName: Invalid value: "A_b"`},
		{"containers to look at others", template("ReplicaSet", "ephemeralContainers: [{name: e, image: x}]"), "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"},
	}.run(t, start(t))
}

// TestPodNames: a pod that names what does not exist is forbidden, as upstream's admission does.
func TestPodNames(t *testing.T) {
	s := start(t)
	refusals{
		{"service account", with("serviceAccountName: nobody"), `pods "x" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found`},
		{"default account", with("serviceAccountName: default"), ""},
		{"priority class", with("priorityClassName: high"), `pods "x" is forbidden: no PriorityClass with name high was found`},
		{"priority class of the system", with("priorityClassName: system-node-critical, priority: 2000001000"), ""},
		{"own priority", with("priority: 7"), `pods "x" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name`},
		{"own preemption policy", with("preemptionPolicy: Never"), `the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name`},
		{"runtime class", with("runtimeClassName: gvisor"), `pods "x" is forbidden: pod rejected: RuntimeClass "gvisor" not found`},
		{"overhead", with("overhead: {cpu: 1}"), "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"},
	}.run(t, s)
	// The first pod of a namespace has its default account at once.
	s.must(t, "", "create", "namespace", "fresh")
	s.must(t, with(""), "create", "-n", "fresh", "-f", "-")
	if got := s.must(t, "", "get", "-n", "fresh", "serviceaccount", "default", "-o", "name"); got != "serviceaccount/default\n" {
		t.Error(got)
	}
}

// TestReplacedPodKeepsItsTolerations: the manifest a pod was made from, sent once more, changes nothing.
func TestReplacedPodKeepsItsTolerations(t *testing.T) {
	s := start(t)
	manifest := with("serviceAccountName: default, automountServiceAccountToken: false")
	s.must(t, manifest, "create", "-f", "-")
	s.must(t, manifest, "replace", "-f", "-")
	if got := s.must(t, "", "get", "pod", "x", "-o", "jsonpath={.spec.tolerations[*].key} {.spec.priority} {.metadata.generation}"); got != "node.kubernetes.io/not-ready node.kubernetes.io/unreachable 0 1" {
		t.Error(got)
	}
}
