package why

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/why"
	"fairlead.dev/fairlead/why/mistake"
)

// idle is a controller whose caches hold objects and that does not run.
func idle(t testing.TB, objects ...runtime.Object) *Controller {
	t.Helper()
	c := New(nil, informers.NewSharedInformerFactory(nil, 0), nil, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, slog.New(slog.DiscardHandler))
	t.Cleanup(c.queue.ShutDown)
	for _, obj := range objects {
		var in cache.SharedIndexInformer
		switch obj.(type) {
		case *corev1.Service:
			in = c.services
		case *corev1.Endpoints:
			in = c.endpoints
		case *discoveryv1.EndpointSlice:
			in = c.slices
		case *corev1.Pod:
			in = c.pods
		case *corev1.Node:
			in = c.nodes
		default:
			t.Fatalf("nothing to do with a %T", obj)
		}
		if err := in.GetStore().Add(obj); err != nil {
			t.Fatal(err)
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: obj.(metav1.Object).GetNamespace()}}
		if err := c.namespaces.GetStore().Add(ns); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// keys are the names that the objects of a controller's caches have or refer to.
func (c *Controller) keys() []types.NamespacedName {
	seen := map[types.NamespacedName]bool{}
	for _, in := range []cache.SharedIndexInformer{c.services, c.endpoints} {
		for _, obj := range in.GetStore().List() {
			seen[kube.Key(obj.(metav1.Object))] = true
		}
	}
	for _, obj := range c.slices.GetStore().List() {
		slice := obj.(*discoveryv1.EndpointSlice)
		seen[types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}] = true
	}
	var all []types.NamespacedName
	for key := range seen {
		all = append(all, key)
	}
	return all
}

// line prints a finding as the tests' files do.
func line(kind, reason, about, message string) string {
	return kind + " " + reason + " " + about + ": " + message
}

// findings prints everything that is wrong with the objects of a controller's caches.
func (c *Controller) findings(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, key := range c.keys() {
		v := c.view(key)
		c.nearMisses(&v)
		for _, f := range why.Findings(v) {
			kind := corev1.EventTypeWarning
			if f.Harmless {
				kind = corev1.EventTypeNormal
			}
			object, _ := object(v)
			kinds, _, err := scheme.Scheme.ObjectKinds(object)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line(kind, f.Code, kinds[0].Kind+" "+kube.Key(object.(metav1.Object)).String(), f.Message()))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestFindings has the caches of a controller hold the objects of each mistake, and compares what is wrong with them.
func TestFindings(t *testing.T) {
	for _, m := range mistake.Read(t, "../../why/testdata") {
		t.Run(m.Name, func(t *testing.T) {
			if got := strings.Join(idle(t, m.Objects...).findings(t), "\n") + "\n"; got != m.Events {
				t.Errorf("got\n%swant\n%s", got, m.Events)
			}
		})
	}
}

// A cluster in which everything is right gives no findings; what the program itself keeps is right.
func TestNothingIsWrong(t *testing.T) {
	own := []runtime.Object{
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "dns", Port: 53}}}},
	}
	if got := idle(t, own...).findings(t); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	going := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "going", DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)}}}
	if got := idle(t, going).findings(t); len(got) > 0 {
		t.Errorf("a Service that is being deleted: %v", got)
	}
	c := idle(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ending", Name: "web"}})
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ending", DeletionTimestamp: &metav1.Time{Time: time.Unix(1, 0)}}}
	if err := c.namespaces.GetStore().Update(ns); err != nil {
		t.Fatal(err)
	}
	if got := c.findings(t); len(got) > 0 {
		t.Errorf("in a namespace that is being deleted: %v", got)
	}
}

// Addresses of the cluster itself, claimed by the status of a Service.
func TestViewHasWhatIsReserved(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.11"}}
	api := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "greedy"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 6443}}}}
	for ip, what := range map[string]string{"192.0.2.1": "the address of the API server", "192.0.2.11": "the address of node n1", "10.244.1.9": "in the range of pods",
		"10.96.0.10": "in the range of cluster addresses", "169.254.169.254": "a link-local address", "198.51.100.1": ""} {
		s := s.DeepCopy()
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}, {Hostname: "lb.example.com"}, {IP: "192.0.2.1", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)}}
		told := ""
		for _, f := range why.Findings(idle(t, n, api, s).view(kube.Key(s))) {
			if f.Code == "AddressReserved" {
				told += f.Message()
			}
		}
		if what == "" && told != "" || !strings.HasPrefix(told, "status.loadBalancer.ingress "+ip+" is "+what) && what != "" {
			t.Errorf("%s: %q", ip, told)
		}
	}
}
