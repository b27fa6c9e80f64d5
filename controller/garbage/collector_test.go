package garbage_test

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/controller/garbage"
	"fairlead.dev/fairlead/internal/apitest"
)

// serve runs an API server until the test ends.
func serve(t *testing.T) (*apiserver.Server, *rest.Config) {
	t.Helper()
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	return server, server.ClientConfig()
}

// start runs a Collector with caches of its own until the test ends, as the program does: it knows which custom resources are used.
func start(t *testing.T, server *apiserver.Server, cfg *rest.Config, client kubernetes.Interface) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(client, 0)
	c, err := garbage.New(cfg, shared, []byte("the CA"), garbage.Customs{Unused: server.Unused, OnWrite: server.OnWrite}, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	apitest.Control(t, shared, c.Run)
}

// yard is a namespace of a server with a collector.
type yard struct {
	*testing.T
	client kubernetes.Interface
	ns     string
}

func TestCollector(t *testing.T) {
	server, cfg := serve(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	start(t, server, cfg, client)
	for name, test := range map[string]func(*yard){
		"background": background, "late": lateDependent, "foreground": foreground, "orphan": orphan,
		"twoowners": twoOwners, "recreated": recreatedOwner, "defaults": defaults, "namespace": namespaceDeletion, "roles": rolesGo, "pods": podsFirst,
	} {
		t.Run(name, func(t *testing.T) {
			y := &yard{T: t, client: client, ns: name}
			if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			test(y)
		})
	}
}

// configMap creates a ConfigMap with the owners.
func (y *yard) configMap(name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	y.Helper()
	got, err := y.client.CoreV1().ConfigMaps(y.ns).Create(y.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: y.ns, OwnerReferences: owners}}, metav1.CreateOptions{})
	if err != nil {
		y.Fatal(err)
	}
	return got
}

// set creates a ReplicaSet with the owners.
func (y *yard) set(name string, owners ...metav1.OwnerReference) *appsv1.ReplicaSet {
	y.Helper()
	l := map[string]string{"app": name}
	none := int32(0)
	got, err := y.client.AppsV1().ReplicaSets(y.ns).Create(y.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: y.ns, OwnerReferences: owners},
		Spec: appsv1.ReplicaSetSpec{Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: l}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: l}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		y.Fatal(err)
	}
	return got
}

func owner(kind, version string, obj metav1.Object) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: version, Kind: kind, Name: obj.GetName(), UID: obj.GetUID(), BlockOwnerDeletion: &yes}
}

func (y *yard) deleteSet(name string, policy metav1.DeletionPropagation) {
	y.Helper()
	if err := y.client.AppsV1().ReplicaSets(y.ns).Delete(y.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		y.Fatal(err)
	}
}

// left are the names of the namespace's ReplicaSets and ConfigMaps, without the
// one every namespace has.
func (y *yard) left() []string {
	y.Helper()
	out := []string{}
	sets, err := y.client.AppsV1().ReplicaSets(y.ns).List(y.Context(), metav1.ListOptions{})
	if err != nil {
		y.Fatal(err)
	}
	for _, o := range sets.Items {
		out = append(out, o.Name)
	}
	maps, err := y.client.CoreV1().ConfigMaps(y.ns).List(y.Context(), metav1.ListOptions{})
	if err != nil {
		y.Fatal(err)
	}
	for _, o := range maps.Items {
		if o.Name != "kube-root-ca.crt" {
			out = append(out, o.Name)
		}
	}
	return out
}

func (y *yard) remain(names ...string) {
	y.Helper()
	apitest.Eventually(y.T, func() string {
		if got := y.left(); !slices.Equal(got, append([]string{}, names...)) {
			return fmt.Sprintf("left %v, want %v", got, names)
		}
		return ""
	})
}

// Rule D55: a chain goes from the top.
func background(y *yard) {
	top := y.set("a")
	middle := y.set("b", owner("ReplicaSet", "apps/v1", top))
	y.configMap("c", owner("ReplicaSet", "apps/v1", middle))
	y.configMap("d")
	y.deleteSet("a", metav1.DeletePropagationBackground)
	y.remain("d")
}

func lateDependent(y *yard) {
	top := y.set("a")
	y.deleteSet("a", metav1.DeletePropagationBackground)
	y.configMap("late", owner("ReplicaSet", "apps/v1", top))
	y.remain()
}

func foreground(y *yard) {
	top := y.set("a")
	middle := y.set("b", owner("ReplicaSet", "apps/v1", top))
	last := y.configMap("c", owner("ReplicaSet", "apps/v1", middle))
	finalizers := func(json string) {
		if _, err := y.client.CoreV1().ConfigMaps(y.ns).Patch(y.Context(), last.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+json+`}}`), metav1.PatchOptions{}); err != nil {
			y.Fatal(err)
		}
	}
	finalizers(`["example.com/hold"]`)
	y.deleteSet("a", metav1.DeletePropagationForeground)
	apitest.Eventually(y.T, func() string {
		c, err := y.client.CoreV1().ConfigMaps(y.ns).Get(y.Context(), last.Name, metav1.GetOptions{})
		if err != nil {
			y.Fatal(err)
		}
		if c.DeletionTimestamp == nil {
			return "the last dependent is not being deleted"
		}
		return ""
	})
	if got := y.left(); !slices.Equal(got, []string{"a", "b", "c"}) {
		y.Fatalf("left %v while a dependent blocks, want all three", got)
	}
	finalizers(`null`)
	y.remain()
}

func orphan(y *yard) {
	top := y.set("a")
	y.configMap("c", owner("ReplicaSet", "apps/v1", top))
	y.deleteSet("a", metav1.DeletePropagationOrphan)
	y.remain("c")
	c, err := y.client.CoreV1().ConfigMaps(y.ns).Get(y.Context(), "c", metav1.GetOptions{})
	if err != nil || len(c.OwnerReferences) != 0 {
		y.Errorf("owners %v (%v)", c.OwnerReferences, err)
	}
}

func twoOwners(y *yard) {
	a, b := y.set("a"), y.set("b")
	y.configMap("c", owner("ReplicaSet", "apps/v1", a), owner("ReplicaSet", "apps/v1", b))
	y.deleteSet("a", metav1.DeletePropagationBackground)
	apitest.Eventually(y.T, func() string {
		c, err := y.client.CoreV1().ConfigMaps(y.ns).Get(y.Context(), "c", metav1.GetOptions{})
		if err != nil {
			y.Fatal(err)
		}
		if len(c.OwnerReferences) != 1 || c.OwnerReferences[0].Name != "b" {
			return fmt.Sprintf("owners %v, want only b", c.OwnerReferences)
		}
		return ""
	})
	y.deleteSet("b", metav1.DeletePropagationBackground)
	y.remain()
}

// An owner of the same name is not the owner: references are to UIDs.
func recreatedOwner(y *yard) {
	y.configMap("keeps", owner("ReplicaSet", "apps/v1", y.set("a")))
	stale := y.set("other")
	stale.Name, stale.UID = "a", "11111111-2222-3333-4444-555555555555"
	y.configMap("goes", owner("ReplicaSet", "apps/v1", stale))
	y.remain("a", "other", "keeps")
}

// Rule D53: every namespace has its ServiceAccount and the CA, also after they were
// deleted or changed.
func defaults(y *yard) {
	check := func() string {
		if _, err := y.client.CoreV1().ServiceAccounts(y.ns).Get(y.Context(), "default", metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		c, err := y.client.CoreV1().ConfigMaps(y.ns).Get(y.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if c.Data["ca.crt"] != "the CA" {
			return fmt.Sprintf("ca.crt is %q", c.Data["ca.crt"])
		}
		return ""
	}
	apitest.Eventually(y.T, check)
	if err := y.client.CoreV1().ServiceAccounts(y.ns).Delete(y.Context(), "default", metav1.DeleteOptions{}); err != nil {
		y.Fatal(err)
	}
	apitest.Eventually(y.T, check)
	if _, err := y.client.CoreV1().ConfigMaps(y.ns).Patch(y.Context(), "kube-root-ca.crt", types.MergePatchType, []byte(`{"data":{"ca.crt":"forged"}}`), metav1.PatchOptions{}); err != nil {
		y.Fatal(err)
	}
	apitest.Eventually(y.T, check)
}

func namespaceDeletion(y *yard) {
	for i := range 5 {
		y.configMap(fmt.Sprint("c", i), owner("ReplicaSet", "apps/v1", y.set(fmt.Sprint("r", i))))
	}
	if err := y.client.CoreV1().Namespaces().Delete(y.Context(), y.ns, metav1.DeleteOptions{}); err != nil {
		y.Fatal(err)
	}
	apitest.Eventually(y.T, func() string {
		ns, err := y.client.CoreV1().Namespaces().Get(y.Context(), y.ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("namespace: %v, %v", ns, err)
	})
	if got := y.left(); len(got) != 0 {
		y.Errorf("left %v", got)
	}
}

// A binding goes with its owner, and roles with their namespace.
func rolesGo(y *yard) {
	rbac := y.client.RbacV1()
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}
	for name, owners := range map[string][]metav1.OwnerReference{"free": nil, "owned": {owner("ReplicaSet", "apps/v1", y.set("r"))}} {
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}, RoleRef: role}
		if _, err := rbac.RoleBindings(y.ns).Create(y.Context(), binding, metav1.CreateOptions{}); err != nil {
			y.Fatal(err)
		}
	}
	if _, err := rbac.Roles(y.ns).Create(y.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}}, metav1.CreateOptions{}); err != nil {
		y.Fatal(err)
	}
	names := func() (names []string) {
		roles, err := rbac.Roles(y.ns).List(y.Context(), metav1.ListOptions{})
		bindings, err2 := rbac.RoleBindings(y.ns).List(y.Context(), metav1.ListOptions{})
		if err != nil || err2 != nil {
			y.Fatal(err, err2)
		}
		for _, r := range roles.Items {
			names = append(names, "role "+r.Name)
		}
		for _, b := range bindings.Items {
			names = append(names, "binding "+b.Name)
		}
		return names
	}
	left := func(want ...string) {
		y.Helper()
		apitest.Eventually(y.T, func() string {
			if got := names(); !slices.Equal(got, want) {
				return fmt.Sprintf("left %v, want %v", got, want)
			}
			return ""
		})
	}
	y.deleteSet("r", metav1.DeletePropagationBackground)
	left("role r", "binding free")
	if err := y.client.CoreV1().Namespaces().Delete(y.Context(), y.ns, metav1.DeleteOptions{}); err != nil {
		y.Fatal(err)
	}
	left()
}

// The pods of a deleted namespace stop before anything else in it goes.
func podsFirst(y *yard) {
	y.configMap("settings")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if _, err := y.client.CoreV1().Pods(y.ns).Create(y.Context(), pod, metav1.CreateOptions{}); err != nil {
		y.Fatal(err)
	}
	if err := y.client.CoreV1().Namespaces().Delete(y.Context(), y.ns, metav1.DeleteOptions{}); err != nil {
		y.Fatal(err)
	}
	apitest.Eventually(y.T, func() string {
		ns, err := y.client.CoreV1().Namespaces().Get(y.Context(), y.ns, metav1.GetOptions{})
		if err != nil {
			y.Fatal(err)
		}
		for _, c := range ns.Status.Conditions {
			if c.Type == corev1.NamespaceContentRemaining && c.Message == "Some resources are remaining: pods. has 1 resource instances" {
				return ""
			}
		}
		return fmt.Sprintf("conditions %+v", ns.Status.Conditions)
	})
	p, err := y.client.CoreV1().Pods(y.ns).Get(y.Context(), "p", metav1.GetOptions{})
	if err != nil || p.DeletionTimestamp == nil {
		y.Errorf("pod is not being deleted: %v", err)
	}
	if got := y.left(); !slices.Equal(got, []string{"settings"}) {
		y.Errorf("left %v while the pod stops, want the config map", got)
	}
	now := int64(0) // the node's agent has stopped it
	if err := y.client.CoreV1().Pods(y.ns).Delete(y.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		y.Fatal(err)
	}
	apitest.Eventually(y.T, func() string {
		_, err := y.client.CoreV1().Namespaces().Get(y.Context(), y.ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("the namespace is still there (%v)", err)
	})
}
