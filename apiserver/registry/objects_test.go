//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that people use.

package registry_test

import (
	"fmt"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// refusals are manifests and what the API says about each; "" means that it is accepted.
type refusals []struct{ id, manifest, want string }

// run creates each manifest without keeping it.
func (r refusals) run(t *testing.T, s *server) {
	for _, test := range r {
		t.Run(test.id, func(t *testing.T) {
			err := s.dryRun(t, test.manifest)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && err == nil:
				t.Error("accepted")
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("\n got %v\nwant %s", err, test.want)
			}
		})
	}
}

// dryRun posts a manifest without keeping the object.
func (s *server) dryRun(t *testing.T, manifest string) error {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatalf("%v in %s", err, manifest)
	}
	return s.CoreV1().RESTClient().Post().AbsPath(path(t, manifest)).
		Param("dryRun", metav1.DryRunAll).SetHeader("Content-Type", "application/json").Body(data).Do(t.Context()).Error()
}

// path is where objects of a manifest's kind lie, in the default namespace if in any.
func path(t *testing.T, manifest string) string {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(manifest), &kind); err != nil {
		t.Fatal(err)
	}
	root, namespace := "/apis/"+kind.APIVersion, "/namespaces/default"
	if kind.APIVersion == "v1" {
		root = "/api/v1"
	}
	if kind.Kind == "Node" || kind.Kind == "Namespace" || kind.Kind == "IngressClass" {
		namespace = ""
	}
	plural := strings.TrimSuffix(strings.ToLower(kind.Kind), "s") + "s"
	if strings.HasSuffix(kind.Kind, "ss") {
		plural = strings.ToLower(kind.Kind) + "es"
	}
	return root + namespace + "/" + plural
}

func TestConfigMapsAndSecrets(t *testing.T) {
	s := start(t)
	big := strings.Repeat("a", corev1.MaxSecretSize+1)
	refusals{
		{"config map key", "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {'a b': c}}", `data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`},
		{"config map key twice", "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: c}, binaryData: {a: Yg==}}", `data[a]: Invalid value: "a": duplicate of key present in binaryData`},
		{"config map size", "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: " + big + "}}", "Too long: may not be more than 1048576 bytes"},
		{"secret size", "{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {a: " + big + "}}", "data: Too long: may not be more than 1048576 bytes"},
		{"secret key", "{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {'a/b': c}}", `data[a/b]: Invalid value: "a/b"`},
		{"tls secret", "{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: x}, stringData: {tls.crt: c}}", "data[tls.key]: Required value"},
		{"name", "{apiVersion: v1, kind: ConfigMap, metadata: {name: A}}", `metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of`},
	}.run(t, s)
	s.must(t, "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: b, c: d}, immutable: true}", "create", "-f", "-")
	s.must(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: b}, binaryData: {c: Yg==}, immutable: true}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "secret", "s"), "NAME TYPE DATA AGE", "s Opaque 2 *")
	columns(t, s.must(t, "", "get", "cm", "m"), "NAME DATA AGE", "m 2 *")
	if stderr := s.refused(t, "", "patch", "secret", "s", "-p", `{"stringData":{"a":"x"}}`); !strings.Contains(stderr, "data: Forbidden: field is immutable when `immutable` is set") {
		t.Error(stderr)
	}
	if stderr := s.refused(t, "", "patch", "cm", "m", "-p", `{"data":{"a":"x"}}`); !strings.Contains(stderr, "data: Forbidden: field is immutable when `immutable` is set") {
		t.Error(stderr)
	}
	if stderr := s.refused(t, "", "patch", "secret", "s", "-p", `{"type":"other"}`); !strings.Contains(stderr, `type: Invalid value: "other": field is immutable`) {
		t.Error(stderr)
	}
	if got := s.must(t, "", "get", "secrets", "--field-selector", "type=Opaque", "-o", "name"); got != "secret/s\n" {
		t.Errorf("field selector: %q", got)
	}
}

func TestD53_NamespacesGoInTwoSteps(t *testing.T) {
	s := start(t)
	s.must(t, "", "create", "namespace", "demo")
	ns, err := s.CoreV1().Namespaces().Get(t.Context(), "demo", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ns.Labels["kubernetes.io/metadata.name"] != "demo" || len(ns.Spec.Finalizers) != 1 || ns.Spec.Finalizers[0] != "kubernetes" || ns.Status.Phase != corev1.NamespaceActive {
		t.Errorf("new: %+v", ns)
	}
	columns(t, s.must(t, "", "get", "ns", "demo"), "NAME STATUS AGE", "demo Active *")
	ns.Spec.Finalizers = nil
	if ns, err = s.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil || len(ns.Spec.Finalizers) != 1 {
		t.Errorf("an update changed the finalizers: %+v, %v", ns.Spec, err)
	}
	wrong := types.UID("another")
	if err := s.CoreV1().Namespaces().Delete(t.Context(), "demo", *metav1.NewPreconditionDeleteOptions(string(wrong))); !apierrors.IsConflict(err) {
		t.Errorf("with the uid of another: %v", err)
	}
	if err := s.CoreV1().Namespaces().Delete(t.Context(), "demo", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Fatal(err)
	}
	if got := s.must(t, "", "get", "ns", "demo", "-o", "jsonpath={.status.phase}"); got != "Active" {
		t.Errorf("after a dry run: %s", got)
	}
	if err := s.CoreV1().Namespaces().Delete(t.Context(), "demo", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	columns(t, s.must(t, "", "get", "ns", "demo"), "NAME STATUS AGE", "demo Terminating *")
	if err := s.CoreV1().Namespaces().Delete(t.Context(), "demo", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
	if got := s.must(t, "", "get", "ns", "--field-selector", "status.phase=Terminating", "-o", "name"); got != "namespace/demo\n" {
		t.Errorf("field selector: %q", got)
	}
	ns, err = s.CoreV1().Namespaces().Get(t.Context(), "demo", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ns.Spec.Finalizers = nil
	if _, err := s.CoreV1().Namespaces().Finalize(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CoreV1().Namespaces().Get(t.Context(), "demo", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its finalizer was removed: %v", err)
	}
}

func TestNodes(t *testing.T) {
	s := start(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}}}
	node, err := s.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	columns(t, s.must(t, "", "get", "no"), "NAME STATUS ROLES AGE VERSION", "n1 Unknown control-plane,worker *")
	node.Status = corev1.NodeStatus{
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.30"}},
		NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", OSImage: "Debian", KernelVersion: "6.18", ContainerRuntimeVersion: "containerd://1.6.20"},
	}
	if _, err = s.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "cordon", "n1")
	columns(t, s.must(t, "", "get", "nodes", "-o", "wide"),
		"NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
		"n1 Ready,SchedulingDisabled control-plane,worker * v1.37.2 10.0.0.30 <none> Debian 6.18 containerd://1.6.20")
	if got := s.must(t, "", "get", "nodes", "--field-selector", "spec.unschedulable=true", "-o", "name"); got != "node/n1\n" {
		t.Errorf("field selector: %q", got)
	}
	s.must(t, "", "patch", "node", "n1", "-p", `{"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"]}}`)
	if stderr := s.refused(t, "", "patch", "node", "n1", "--type=merge", "-p", `{"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}`); !strings.Contains(stderr, `spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`) {
		t.Error(stderr)
	}
	s.must(t, "", "taint", "node", "n1", "dedicated=x:NoSchedule")
}

func TestEventsUnderBothNames(t *testing.T) {
	s := start(t)
	now := metav1.NowMicro()
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e1", Namespace: "default"}, EventTime: now, Type: "Warning", Reason: "Unhealthy", Action: "Probing",
		Note: "Readiness probe failed: HTTP probe failed with statuscode: 500\n", ReportingController: "kubelet", ReportingInstance: "n1",
		Regarding: corev1.ObjectReference{Kind: "Pod", Name: "web", Namespace: "default", FieldPath: "spec.containers{app}"},
	}
	if _, err := s.EventsV1().Events("default").Create(t.Context(), event, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	core, err := s.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=web,reason=Unhealthy,type=Warning,source=kubelet"})
	if err != nil || len(core.Items) != 1 || !strings.HasPrefix(core.Items[0].Message, "Readiness") {
		t.Fatalf("core: %+v, %v", core, err)
	}
	news, err := s.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "regarding.name=web"})
	if err != nil || len(news.Items) != 1 || news.Items[0].Note == "" {
		t.Fatalf("events.k8s.io: %+v, %v", news, err)
	}
	columns(t, s.must(t, "", "get", "ev"), "LAST SEEN TYPE REASON OBJECT MESSAGE",
		"* Warning Unhealthy pod/web Readiness probe failed: HTTP probe failed with statuscode: 500")
	columns(t, s.must(t, "", "get", "events", "-o", "wide"), "LAST SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME",
		"* Warning Unhealthy pod/web spec.containers{app} kubelet, n1 Readiness probe failed: HTTP probe failed with statuscode: 500 * 1 e1")
	patch := `{"series":{"count":4,"lastObservedTime":"` + now.UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`
	if _, err := s.EventsV1().Events("default").Patch(t.Context(), "e1", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	misplaced := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e2"}, InvolvedObject: corev1.ObjectReference{Namespace: "kube-system"}}
	if _, err := s.CoreV1().Events("default").Create(t.Context(), misplaced, metav1.CreateOptions{}); !strings.Contains(complaint(err), "involvedObject.namespace: Invalid value: \"kube-system\": does not match event.namespace") {
		t.Errorf("misplaced: %v", err)
	}
}

func TestLeases(t *testing.T) {
	s := start(t)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1", Namespace: "default"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("n1"), LeaseDurationSeconds: ptr.To[int32](40)}}
	lease, err := s.CoordinationV1().Leases("default").Create(t.Context(), lease, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	columns(t, s.must(t, "", "get", "leases"), "NAME HOLDER AGE", "n1 n1 *")
	lease.ResourceVersion = ""
	if _, err := s.CoordinationV1().Leases("default").Update(t.Context(), lease, metav1.UpdateOptions{}); !strings.Contains(fmt.Sprint(err), "metadata.resourceVersion: Invalid value") {
		t.Errorf("an update without a resource version: %v", err)
	}
	refusals{
		{"duration", "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: x}, spec: {leaseDurationSeconds: 0}}", "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"},
	}.run(t, s)
}
