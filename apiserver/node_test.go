package apiserver_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// makeSecrets makes Secrets and ConfigMaps of the given names.
func makeSecrets(t *testing.T, admin kubernetes.Interface, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := admin.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err == nil {
			_, err = admin.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name), metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestNodeReadsWhatItsPodsReferTo: at once when a pod is bound, in no other namespace, and not any more when the pod is gone.
func TestNodeReadsWhatItsPodsReferTo(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	n1, n2 := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes")), clientOf(t, as(t, cfg, "system:node:n2", "system:nodes"))
	makeSecrets(t, admin, "used", "other")
	reads := func(node kubernetes.Interface, name string) (secret, configMap error) {
		_, secret = node.CoreV1().Secrets("default").Get(ctx, name, metav1.GetOptions{})
		_, configMap = node.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
		return secret, configMap
	}
	for round := range 20 { // each right after a binding
		pod := podOn(fmt.Sprintf("p%d", round), "")
		local := corev1.LocalObjectReference{Name: "used"}
		pod.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "used"}}}}
		pod.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "i", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local}}}}}
		if _, err := admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if s, c := reads(n1, "used"); !apierrors.IsForbidden(s) || !apierrors.IsForbidden(c) {
			t.Fatalf("before the pod is bound: %v, %v", s, c)
		}
		bind := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
		if err := admin.CoreV1().Pods("default").Bind(ctx, bind, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if s, c := reads(n1, "used"); s != nil || c != nil {
			t.Fatalf("right after the binding: %v, %v", s, c)
		}
		if _, err := n1.CoreV1().Pods("default").Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			t.Errorf("its pod: %v", err)
		}
		if _, err := n2.CoreV1().Pods("default").Get(ctx, pod.Name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("another's pod: %v", err)
		}
		for who, node := range map[string]kubernetes.Interface{"other": n1, "used": n2} {
			if s, c := reads(node, who); !apierrors.IsForbidden(s) || !apierrors.IsForbidden(c) {
				t.Errorf("%s: %v, %v", who, s, c)
			}
		}
		zero := int64(0)
		if err := admin.CoreV1().Pods("default").Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, func() string {
			if s, _ := reads(n1, "used"); !apierrors.IsForbidden(s) {
				return fmt.Sprintf("after the pod's end: %v", s)
			}
			return ""
		})
	}
	if _, err := n1.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("all secrets: %v", err)
	}
	if _, err := n1.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=used"}); !apierrors.IsForbidden(err) {
		t.Errorf("a list of one: %v", err)
	}
	if _, err := n1.CoreV1().Secrets("kube-system").Get(ctx, "used", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("of another namespace: %v", err)
	}
}

// TestNodeReadsTheVolumesOfItsPods: the claims that they name or bring, and the volumes these are bound to, and no other.
func TestNodeReadsTheVolumesOfItsPods(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	n1, n2 := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes")), clientOf(t, as(t, cfg, "system:node:n2", "system:nodes"))
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	once := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	for _, name := range []string{"data", "p-own", "other"} {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{AccessModes: once, Resources: corev1.VolumeResourceRequirements{Requests: size}}}
		if _, err := admin.CoreV1().PersistentVolumeClaims("default").Create(ctx, claim, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{Capacity: size, AccessModes: once,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"}}, ClaimRef: &corev1.ObjectReference{Namespace: "default", Name: name}}}
		if _, err := admin.CoreV1().PersistentVolumes().Create(ctx, v, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pod := podOn("p", "n1")
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
		{Name: "own", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{AccessModes: once, Resources: corev1.VolumeResourceRequirements{Requests: size}}}}}},
	}
	if _, err := admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		node    kubernetes.Interface
		name    string
		allowed bool
	}{{n1, "data", true}, {n1, "p-own", true}, {n1, "other", false}, {n1, "missing", false}, {n2, "data", false}} {
		_, claim := row.node.CoreV1().PersistentVolumeClaims("default").Get(ctx, row.name, metav1.GetOptions{})
		_, volume := row.node.CoreV1().PersistentVolumes().Get(ctx, row.name, metav1.GetOptions{})
		if apierrors.IsForbidden(claim) == row.allowed || apierrors.IsForbidden(volume) == row.allowed {
			t.Errorf("%s: %v, %v", row.name, claim, volume)
		}
	}
	if _, err := n1.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("all volumes: %v", err)
	}
}

// TestNodeClaimsNoAddressOfOthers: what a node publishes of itself and its pods is its own.
func TestNodeClaimsNoAddressOfOthers(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	n1 := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	for name, addr := range map[string]string{"n1": "192.0.2.11", "n2": "192.0.2.12"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: addr}}
		node.Spec.PodCIDR, node.Spec.PodCIDRs = "10.244.1.0/24", []string{"10.244.1.0/24"}
		if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	claims := func(addr string) error {
		patch := fmt.Sprintf(`{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, addr)
		_, err := n1.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		return err
	}
	for addr, want := range map[string]string{
		"127.0.0.1": "loopback", "0.0.0.0": "unspecified", "garbage": "not an IP address", "192.0.2.12": "node n2's", "10.96.0.1": "range of the cluster",
		"169.254.169.254": "link-local", "224.0.0.1": "multicast", "::1": "loopback", "kubernetes.default.svc": "not an IP address",
	} {
		if err := claims(addr); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
	if err := claims("192.0.2.13"); err != nil {
		t.Errorf("an address of its own: %v", err)
	}
	for patch, want := range map[string]string{
		`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`: "labels", `{"metadata":{"labels":{"rack":"7"}}}`: "",
		`{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}`: "taints", `{"spec":{"podCIDRs":["10.244.1.0/24","fd00::/64"]}}`: "podCIDRs",
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"gone","uid":"1"}]}}`: "ownerReferences",
	} {
		_, err := n1.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if want == "" && err != nil || want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	if _, err := admin.CoreV1().Pods("default").Create(ctx, podOn("p", "n1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for ip, allowed := range map[string]bool{"10.244.1.7": true, "10.244.2.7": false, "10.96.0.1": false, "127.0.0.1": false, "192.0.2.13": false} {
		patch := fmt.Sprintf(`{"status":{"podIP":%q,"podIPs":[{"ip":%q}]}}`, ip, ip)
		_, err := n1.CoreV1().Pods("default").Patch(ctx, "p", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		if (err == nil) != allowed || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("its pod at %s: %v", ip, err)
		}
	}
}

// TestCallerOfAgentsMayDoNothing: whoever sends the API server to itself by a node's address gains nothing.
func TestCallerOfAgentsMayDoNothing(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	caller := as(t, cfg, "fairlead-apiserver-agent-client", "fairlead:agent-callers")
	for _, path := range []string{"/api", "/apis", "/api/v1/secrets", "/metrics", "/api/v1/nodes"} {
		if got := status(t, caller, path); got != 403 {
			t.Errorf("%s: %d", path, got)
		}
	}
}
