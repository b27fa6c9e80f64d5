package registry_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func podManifest(spec string) string {
	return "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {" + spec + "}}"
}

// container is a manifest of a pod whose one container has the fields given beside its name and image.
func container(fields string) string {
	return podManifest("containers: [{name: app, image: nginx, " + fields + "}]")
}

func TestPodValidation(t *testing.T) {
	refusals{
		{"no containers", podManifest("containers: []"), "spec.containers: Required value"},
		{"no name", podManifest("containers: [{image: nginx}]"), "spec.containers[0].name: Required value"},
		{"bad name", podManifest("containers: [{name: A_b, image: nginx}]"), `spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of`},
		{"name twice", podManifest("containers: [{name: a, image: x}, {name: a, image: x}]"), `spec.containers[1].name: Duplicate value: "a"`},
		{"init name twice", podManifest("initContainers: [{name: a, image: x}], containers: [{name: a, image: x}]"), `spec.initContainers[0].name: Duplicate value: "a"`},
		{"no image", podManifest("containers: [{name: a}]"), "spec.containers[0].image: Required value"},
		{"blank image", podManifest("containers: [{name: a, image: ' nginx'}]"), `spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace`},
		{"pull policy", container("imagePullPolicy: Sometimes"), `spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`},
		{"port name", container("ports: [{name: too-long-a-name-it-is, containerPort: 80}]"), `spec.containers[0].ports[0].name: Invalid value: "too-long-a-name-it-is": must be no more than 15 characters`},
		{"port name twice", container("ports: [{name: http, containerPort: 80}, {name: http, containerPort: 81}]"), `spec.containers[0].ports[1].name: Duplicate value: "http"`},
		{"no port number", container("ports: [{name: http}]"), "spec.containers[0].ports[0].containerPort: Required value"},
		{"port number", container("ports: [{containerPort: 65536}]"), "spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"},
		{"port protocol", container("ports: [{containerPort: 80, protocol: HTTP}]"), `spec.containers[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"`},
		{"D15 host port twice", container("ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]"), `spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"`},
		{"D2 host network", podManifest("hostNetwork: true, containers: [{name: a, image: x, ports: [{containerPort: 80, hostPort: 81}]}]"), "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"},
		{"env name", container("env: [{name: 'A=B', value: x}]"), `spec.containers[0].env[0].name: Invalid value: "A=B"`},
		{"no env name", container("env: [{value: x}]"), "spec.containers[0].env[0].name: Required value"},
		{"env twice", container("env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"},
		{"env from nothing", container("env: [{name: A, valueFrom: {}}]"), "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"},
		{"mount of nothing", container("volumeMounts: [{name: v, mountPath: /v}]"), `spec.containers[0].volumeMounts[0].name: Not found: "v"`},
		{"mount twice", podManifest("volumes: [{name: v}], containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /v}]}]"), `spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique`},
		{"mount out of its volume", podManifest("volumes: [{name: v}], containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]}]"), `spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'`},
		{"volume twice", podManifest("volumes: [{name: v}, {name: v}], containers: [{name: a, image: x}]"), `spec.volumes[1].name: Duplicate value: "v"`},
		{"volume of two kinds", podManifest("volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}], containers: [{name: a, image: x}]"), "may not specify more than 1 volume type"},
		{"volume of a secret", podManifest("volumes: [{name: v, secret: {}}], containers: [{name: a, image: x}]"), "spec.volumes[0].secret.secretName: Required value"},
		{"request over limit", container("resources: {limits: {cpu: 1}, requests: {cpu: 2}}"), `spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`},
		{"unknown resource", container("resources: {limits: {disk: 1}}"), `spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource type or fully qualified`},
		{"restart policy", podManifest("restartPolicy: Sometimes, containers: [{name: a, image: x}]"), `spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`},
		{"dns policy", podManifest("dnsPolicy: Mine, containers: [{name: a, image: x}]"), `spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"`},
		{"N54", podManifest("dnsPolicy: None, containers: [{name: a, image: x}]"), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
		{"N56", podManifest("dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}, containers: [{name: a, image: x}]"), "must not have more than 3 nameservers"},
		{"N56 searches", podManifest("dnsConfig: {searches: ['.', _tcp.example.com.]}, containers: [{name: a, image: x}]"), ""},
		{"R2 liveness", container("livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}"), "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"},
		{"R2 startup", container("startupProbe: {tcpSocket: {port: 80}, successThreshold: 2}"), "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"},
		{"R2 readiness", container("readinessProbe: {tcpSocket: {port: 80}, successThreshold: 2}"), ""},
		{"R3 none", container("readinessProbe: {periodSeconds: 1}"), "spec.containers[0].readinessProbe: Required value: must specify a handler type"},
		{"R3 two", container("readinessProbe: {tcpSocket: {port: 80}, httpGet: {port: 80}}"), "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"},
		{"R1 negative", container("readinessProbe: {tcpSocket: {port: 80}, periodSeconds: -1}"), "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"},
		{"R20", container("readinessProbe: {tcpSocket: {port: 80}, terminationGracePeriodSeconds: 5}"), "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"},
		{"probe of an init container", podManifest("initContainers: [{name: i, image: x, livenessProbe: {tcpSocket: {port: 80}}}], containers: [{name: a, image: x}]"), "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"},
		{"probe of a sidecar", podManifest("initContainers: [{name: i, image: x, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 80}}}], containers: [{name: a, image: x}]"), ""},
		{"user", container("securityContext: {runAsUser: -1}"), "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
		{"escalation", container("securityContext: {privileged: true, allowPrivilegeEscalation: false}"), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"},
		{"grace", podManifest("terminationGracePeriodSeconds: -1, containers: [{name: a, image: x}]"), ""},
		{"hostname", podManifest("hostname: A, containers: [{name: a, image: x}]"), `spec.hostname: Invalid value: "A"`},
		{"node selector", podManifest("nodeSelector: {a: 'b c'}, containers: [{name: a, image: x}]"), `spec.nodeSelector: Invalid value: "b c"`},
		{"toleration", podManifest("tolerations: [{operator: Equal}], containers: [{name: a, image: x}]"), "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty"},
		{"everything", podManifest("hostNetwork: true, volumes: [{name: c, configMap: {name: c}}, {name: h, hostPath: {path: /tmp}}], containers: [{name: a, image: x, args: [a], env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], lifecycle: {preStop: {exec: {command: [a]}}}, securityContext: {capabilities: {add: [NET_ADMIN]}}, volumeMounts: [{name: c, mountPath: /c, readOnly: true}]}]"), ""},
	}.run(t, start(t))
}

func (s *server) pod(t *testing.T, name, spec string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *parse[corev1.PodSpec](t, "{"+spec+"}")}
	pod, err := s.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestD1_D2_D11_PodDefaults(t *testing.T) {
	s := start(t)
	pod := s.pod(t, "a", "hostNetwork: true, volumes: [{name: v}], containers: [{name: a, image: 'x:1', ports: [{containerPort: 80}], resources: {limits: {cpu: 1}}, readinessProbe: {httpGet: {port: 80}}}, {name: b, image: x}, {name: c, image: 'reg:5000/x'}, {name: d, image: 'reg:5000/x@sha256:0123'}, {name: e, image: 'x:latest'}]")
	spec := pod.Spec
	if spec.RestartPolicy != corev1.RestartPolicyAlways || spec.DNSPolicy != corev1.DNSClusterFirst || *spec.TerminationGracePeriodSeconds != 30 ||
		spec.SchedulerName != "default-scheduler" || !*spec.EnableServiceLinks || spec.SecurityContext == nil || spec.ServiceAccountName != "default" {
		t.Errorf("spec: %+v", spec)
	}
	for i, want := range []corev1.PullPolicy{corev1.PullIfNotPresent, corev1.PullAlways, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullAlways} {
		if c := spec.Containers[i]; c.ImagePullPolicy != want {
			t.Errorf("%s: %s, want %s", c.Image, c.ImagePullPolicy, want)
		}
	}
	a := spec.Containers[0]
	if a.TerminationMessagePath != "/dev/termination-log" || a.TerminationMessagePolicy != corev1.TerminationMessageReadFile || a.Ports[0].Protocol != corev1.ProtocolTCP || a.Ports[0].HostPort != 80 {
		t.Errorf("container: %+v", a)
	}
	if cpu := a.Resources.Requests[corev1.ResourceCPU]; cpu.String() != "1" {
		t.Errorf("request: %s", cpu.String())
	}
	probe := a.ReadinessProbe
	if probe.TimeoutSeconds != 1 || probe.PeriodSeconds != 10 || probe.SuccessThreshold != 1 || probe.FailureThreshold != 3 || probe.HTTPGet.Path != "/" || probe.HTTPGet.Scheme != corev1.URISchemeHTTP {
		t.Errorf("R1: %+v", probe)
	}
	if spec.Volumes[0].EmptyDir == nil {
		t.Errorf("volume: %+v", spec.Volumes[0])
	}
	if len(spec.Tolerations) != 2 || *spec.Tolerations[0].TolerationSeconds != 300 || *spec.Priority != 0 {
		t.Errorf("tolerations: %+v", spec.Tolerations)
	}
	if pod.Generation != 1 || pod.Status.Phase != corev1.PodPending || pod.Status.QOSClass != corev1.PodQOSBurstable {
		t.Errorf("D11: generation %d, %+v", pod.Generation, pod.Status)
	}
}

func TestD10_ARunningPodChangesLittle(t *testing.T) {
	s := start(t)
	s.pod(t, "a", "containers: [{name: a, image: 'x:1'}]")
	s.must(t, "", "set", "image", "pod/a", "a=x:2")
	s.must(t, "", "label", "pod", "a", "app=x")
	if got := s.must(t, "", "get", "pod", "a", "-o", "jsonpath={.metadata.generation} {.spec.containers[0].image}"); got != "2 x:2" {
		t.Errorf("D11: %s", got)
	}
	stderr := s.refused(t, "", "patch", "pod", "a", "-p", `{"spec":{"containers":[{"name":"a","command":["x"]}]}}`)
	if want := "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"; !strings.Contains(stderr, want) {
		t.Errorf("\n got %s\nwant %s", stderr, want)
	}
	stderr = s.refused(t, "", "patch", "pod", "a", "-p", `{"spec":{"containers":[{"name":"b","image":"x"}]}}`)
	if !strings.Contains(stderr, "spec.containers: Forbidden: pod updates may not add or remove containers") {
		t.Error(stderr)
	}
	s.must(t, "", "patch", "pod", "a", "--type=json", "-p", `[{"op":"add","path":"/spec/tolerations/-","value":{"key":"a","operator":"Exists"}}]`)
	stderr = s.refused(t, "", "patch", "pod", "a", "--type=json", "-p", `[{"op":"remove","path":"/spec/tolerations/2"}]`)
	if !strings.Contains(stderr, "existing toleration can not be modified except its tolerationSeconds") {
		t.Error(stderr)
	}
}

// bind puts the pod on the node.
func (s *server) bind(t *testing.T, pod, node string) error {
	t.Helper()
	return s.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: "default"}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
}

func TestD12_Binding(t *testing.T) {
	s := start(t)
	s.pod(t, "a", "containers: [{name: a, image: x}]")
	if err := s.bind(t, "a", ""); err == nil || !strings.Contains(err.Error(), "target.name: Required value") {
		t.Errorf("to no node: %v", err)
	}
	if err := s.bind(t, "a", "n1"); err != nil {
		t.Fatal(err)
	}
	pod, err := s.CoreV1().Pods("default").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || pod.Spec.NodeName != "n1" {
		t.Fatalf("%+v, %v", pod, err)
	}
	if c := pod.Status.Conditions; len(c) != 1 || c[0].Type != corev1.PodScheduled || c[0].Status != corev1.ConditionTrue || c[0].LastTransitionTime.IsZero() {
		t.Errorf("conditions: %+v", c)
	}
	err = s.bind(t, "a", "n2")
	if want := `Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"`; !apierrors.IsConflict(err) || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if err := s.bind(t, "missing", "n1"); !apierrors.IsNotFound(err) {
		t.Errorf("a pod that is missing: %v", err)
	}
	mine, err := s.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=n1,status.phase!=Succeeded"})
	if err != nil || len(mine.Items) != 1 {
		t.Errorf("D13: %d, %v", len(mine.Items), err)
	}
}

func TestD5_D6_PodsAreDeletedGracefully(t *testing.T) {
	s := start(t)
	pods := s.CoreV1().Pods("default")
	s.pod(t, "unscheduled", "containers: [{name: a, image: x}]")
	if err := pods.Delete(t.Context(), "unscheduled", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Get(t.Context(), "unscheduled", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("an unscheduled pod is still there: %v", err)
	}

	s.pod(t, "a", "nodeName: n1, containers: [{name: a, image: x}]")
	begun := time.Now()
	if err := pods.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *pod.DeletionGracePeriodSeconds != 30 || pod.DeletionTimestamp.Time.Before(begun.Add(28*time.Second)) {
		t.Errorf("D5: %v %v", pod.DeletionTimestamp, *pod.DeletionGracePeriodSeconds)
	}
	if got := s.must(t, "", "get", "pod", "a"); !strings.Contains(got, "Terminating") {
		t.Error(got)
	}
	for _, step := range []struct{ ask, want int64 }{{60, 30}, {10, 10}, {20, 10}} {
		if err := pods.Delete(t.Context(), "a", *metav1.NewDeleteOptions(step.ask)); err != nil {
			t.Fatal(err)
		}
		if pod, err = pods.Get(t.Context(), "a", metav1.GetOptions{}); err != nil || *pod.DeletionGracePeriodSeconds != step.want {
			t.Errorf("D6: asked for %d, have %d, want %d (%v)", step.ask, *pod.DeletionGracePeriodSeconds, step.want, err)
		}
	}
	other := types.UID("another")
	if err := pods.Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("with the uid of another: %v", err)
	}
	if err := pods.Delete(t.Context(), "a", *metav1.NewDeleteOptions(0)); err != nil { // the agent's confirmation
		t.Fatal(err)
	}
	if _, err := pods.Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("with no grace: %v", err)
	}

	done := s.pod(t, "done", "nodeName: n1, containers: [{name: a, image: x}]")
	done.Status.Phase = corev1.PodSucceeded
	if _, err := pods.UpdateStatus(t.Context(), done, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(t.Context(), "done", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Get(t.Context(), "done", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a pod that has ended is still there: %v", err)
	}
}

func TestD12_EvictionDeletesGracefully(t *testing.T) {
	s := start(t)
	s.pod(t, "a", "nodeName: n1, containers: [{name: a, image: x}]")
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}, DeleteOptions: metav1.NewDeleteOptions(7)}
	if err := s.PolicyV1().Evictions("default").Evict(t.Context(), eviction); err != nil {
		t.Fatal(err)
	}
	pod, err := s.CoreV1().Pods("default").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 7 {
		t.Fatalf("%+v, %v", pod, err)
	}
	if c := pod.Status.Conditions; len(c) != 1 || c[0].Type != corev1.DisruptionTarget || c[0].Reason != "EvictionByEvictionAPI" {
		t.Errorf("conditions: %+v", c)
	}
	if got := s.must(t, "", "get", "--raw", "/api/v1"); !strings.Contains(got, `"name":"pods/eviction"`) || !strings.Contains(got, `"kind":"Eviction"`) {
		t.Error("discovery does not show evictions, so drain would delete")
	}
}

func TestPodStatusKeepsTheRest(t *testing.T) {
	s := start(t)
	pod := s.pod(t, "a", "nodeName: n1, containers: [{name: a, image: x}]")
	pod.Spec.Containers[0].Image = "y"
	pod.Annotations = map[string]string{"noted": "yes"}
	pod.Status.PodIP, pod.Status.HostIP, pod.Status.Phase = "10.244.0.5", "10.0.0.30", corev1.PodRunning
	pod, err := s.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Spec.Containers[0].Image != "x" || pod.Annotations["noted"] != "yes" || pod.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("%+v", pod)
	}
	if len(pod.Status.PodIPs) != 1 || pod.Status.PodIPs[0].IP != "10.244.0.5" {
		t.Errorf("D3: %+v", pod.Status)
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodFailed}
	if pod, err = s.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("an update changed the status: %+v, %v", pod.Status, err)
	}
	columns(t, s.must(t, "", "get", "po", "-o", "wide", "--field-selector", "status.podIP=10.244.0.5,spec.restartPolicy=Always"),
		"NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
		"a 0/1 Running 0 * 10.244.0.5 n1 <none> <none>")
}

func TestEphemeralContainersAreOnlyAdded(t *testing.T) {
	s := start(t)
	pods := s.CoreV1().Pods("default")
	pod := s.pod(t, "a", "nodeName: n1, containers: [{name: a, image: x}]")
	debug := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "y:1"}}
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, debug)
	pod.Spec.Containers[0].Image = "other"
	pod, err := pods.UpdateEphemeralContainers(t.Context(), "a", pod, metav1.UpdateOptions{})
	if err != nil || pod.Spec.Containers[0].Image != "x" || pod.Spec.EphemeralContainers[0].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Fatalf("%+v, %v", pod.Spec, err)
	}
	for _, test := range []struct {
		want   string
		change func(*corev1.PodSpec)
	}{
		{"may not be removed", func(s *corev1.PodSpec) { s.EphemeralContainers = nil }},
		{"may not be changed", func(s *corev1.PodSpec) { s.EphemeralContainers[0].Image = "z" }},
		{`spec.ephemeralContainers[0].name: Duplicate value: "a"`, func(s *corev1.PodSpec) { s.EphemeralContainers[0].Name = "a" }},
		{"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container", func(s *corev1.PodSpec) {
			s.EphemeralContainers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, Protocol: "TCP"}}
		}},
	} {
		changed := pod.DeepCopy()
		test.change(&changed.Spec)
		if _, err := pods.UpdateEphemeralContainers(t.Context(), "a", changed, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("\n got %v\nwant %s", err, test.want)
		}
	}
	stderr := s.refused(t, "{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: a, image: x}], ephemeralContainers: [{name: d, image: x}]}}", "create", "-f", "-")
	if !strings.Contains(stderr, "spec.ephemeralContainers: Forbidden: cannot be set on create") {
		t.Error(stderr)
	}
}

func TestWarnings(t *testing.T) {
	s := start(t)
	for _, test := range []struct{ manifest, want string }{
		{"{apiVersion: v1, kind: Pod, metadata: {name: a.b}, spec: {containers: [{name: a, image: x}]}}", "Warning: metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"},
		{workloadManifest("Deployment", "selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: -1, containers: [{name: a, image: x}]}}"), "Warning: spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"},
		{container("env: [{name: A, value: x}, {name: A, value: z}]"), `Warning: spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply`},
		{podManifest("containers: [{name: a, image: x, ports: [{name: h, containerPort: 1}]}, {name: b, image: x, ports: [{name: h, containerPort: 2}]}]"), `Warning: spec.containers[1].ports[0]: duplicate port name "h" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]`},
		{"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, sessionAffinity: ClientIP}}", "Warning: spec.SessionAffinity is ignored for headless services"},
		{"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {externalName: a.b, ports: [{port: 80}]}}", `Warning: spec.externalName is ignored when spec.type is not "ExternalName"`},
	} {
		_, stderr, err := s.kubectl(t, test.manifest, "create", "--dry-run=server", "-f", "-")
		if err != nil || strings.TrimSpace(stderr) != test.want {
			t.Errorf("%v\n got %swant %s", err, stderr, test.want)
		}
	}
}

// TestBinding: a binding's labels and annotations become its pod's, with the zone of its node; it may say which state of the pod it is about.
func TestBinding(t *testing.T) {
	s := start(t)
	if _, err := s.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{
		corev1.LabelTopologyZone: "z", "other": "label",
	}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := s.CoreV1().Pods("default")
	for _, name := range []string{"a", "b"} {
		pod := s.pod(t, name, "containers: [{name: a, image: x}]")
		pod.Status.NominatedNodeName = "n2"
		if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	bind := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default", ResourceVersion: "1", Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"n": "2"}},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "n1"},
	}
	if err := pods.Bind(t.Context(), bind, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("of another state: %v", err)
	}
	bind.ResourceVersion, bind.Target.Name = "", "No Name"
	if err := pods.Bind(t.Context(), bind, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "target.name: Invalid value") {
		t.Error(err)
	}
	bind.Target.Name = "n1"
	if err := pods.Bind(t.Context(), bind, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || pod.Spec.NodeName != "n1" || pod.Status.NominatedNodeName != "" || pod.Labels["l"] != "1" || pod.Annotations["n"] != "2" ||
		pod.Labels[corev1.LabelTopologyZone] != "z" || pod.Labels["other"] != "" {
		t.Errorf("%+v, %v", pod, err)
	}
	s.must(t, "{apiVersion: v1, kind: Binding, metadata: {name: b, namespace: default}, target: {kind: Node, name: n1}}", "create", "--raw", "/api/v1/namespaces/default/bindings", "-f", "-")
	if pod, err = pods.Get(t.Context(), "b", metav1.GetOptions{}); err != nil || pod.Spec.NodeName != "n1" {
		t.Errorf("by the resource of old: %+v, %v", pod, err)
	}
}
