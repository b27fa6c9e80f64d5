package why

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/why/mistake"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// views are those of all Services and names that objects have or refer to, by name.
func views(objects []runtime.Object) map[types.NamespacedName]*View {
	all := map[types.NamespacedName]*View{}
	of := func(name types.NamespacedName) *View {
		if all[name] == nil {
			all[name] = &View{Cluster: Cluster{Services: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}}}
		}
		return all[name]
	}
	var services []*corev1.Service
	var pods []*corev1.Pod
	for _, obj := range objects {
		switch o := obj.(type) {
		case *corev1.Service:
			of(api.Name(o)).Service = o
			services = append(services, o)
		case *corev1.Endpoints:
			of(api.Name(o)).Endpoints = o
		case *discoveryv1.EndpointSlice:
			v := of(api.ServiceOf(o))
			v.Slices = append(v.Slices, o)
		case *corev1.Pod:
			pods = append(pods, o)
		}
	}
	for _, svc := range services {
		v := of(api.Name(svc))
		for _, rival := range services {
			if rival != svc && slices.ContainsFunc(Outside(rival), func(a netip.Addr) bool { return slices.Contains(Outside(svc), a) }) {
				v.Rivals = append(v.Rivals, rival)
			}
		}
		if api.Selects(svc) {
			v.choose(svc, pods)
		}
	}
	return all
}

// choose fills in the pods of a Service, and its near misses.
func (v *View) choose(svc *corev1.Service, pods []*corev1.Pod) {
	v.NearMisses.Pairs = map[string]int{}
	for key, value := range svc.Spec.Selector {
		v.NearMisses.Pairs[key+"="+value] = 0
	}
	for _, pod := range pods {
		if matches := api.Matches(svc.Spec.Selector, pod.Labels); matches && pod.Namespace == svc.Namespace {
			v.Pods = append(v.Pods, pod)
		} else if matches {
			v.NearMisses.Namespaces = append(v.NearMisses.Namespaces, pod.Namespace)
		}
		for key, value := range svc.Spec.Selector {
			if pod.Namespace == svc.Namespace && pod.Labels[key] == value {
				v.NearMisses.Pairs[key+"="+value]++
			}
		}
	}
}

// TestFindings reads the objects of each mistake and compares what is wrong with them.
func TestFindings(t *testing.T) {
	for _, m := range mistake.Read(t, "testdata") {
		t.Run(m.Name, func(t *testing.T) {
			var lines []string
			for _, v := range views(m.Objects) {
				for _, f := range Findings(*v) {
					kind := map[bool]string{false: "Warning", true: "Normal"}[f.Harmless]
					lines = append(lines, fmt.Sprintf("%s %s %s %s/%s: %s\n", kind, f.Code, f.Object.Kind, f.Object.Namespace, f.Object.Name, f.Message()))
				}
			}
			slices.Sort(lines)
			if got := strings.Join(lines, ""); got != m.Events {
				t.Errorf("got\n%swant\n%s", got, m.Events)
			}
		})
	}
}

// What people read is two sentences, of which the full stops are not written.
func TestSentences(t *testing.T) {
	for _, m := range mistake.Read(t, "testdata") {
		for _, v := range views(m.Objects) {
			for _, f := range Findings(*v) {
				if f.Remedy == "" || f.Remedy[0] < 'A' || f.Remedy[0] > 'Z' || strings.HasSuffix(f.Remedy, ".") || strings.HasSuffix(f.Sentence, ".") || f.Code == "" {
					t.Errorf("%+v", f)
				}
			}
		}
	}
}

// An address that no pod can have is said, and the pod with it.
func TestUnusableAddress(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "odd", Labels: s.Spec.Selector},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}, {IP: "10.244.1.2"}}}}
	message := ""
	for _, f := range Findings(View{Service: s, Pods: []*corev1.Pod{pod}}) {
		if f.Code == "UnusableAddress" {
			message = f.Message()
		}
	}
	if !strings.HasPrefix(message, "127.0.0.1 of pod odd in status.podIPs") {
		t.Errorf("said %q", message)
	}
}

// Addresses of the cluster itself, claimed by the status of a Service.
func TestReservedAddresses(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.11"}}
	api := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "greedy"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 6443}}}}
	ranges := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	for ip, what := range map[string]string{"192.0.2.1": "the address of the API server", "192.0.2.11": "the address of node n1", "10.244.1.9": "in the range of pods",
		"10.96.0.10": "in the range of cluster addresses", "169.254.169.254": "a link-local address", "198.51.100.1": ""} {
		s := s.DeepCopy()
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}, {Hostname: "lb.example.com"}, {IP: "192.0.2.1", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)}}
		said := ""
		for _, f := range Findings(View{Service: s, Cluster: Cluster{Nodes: []*corev1.Node{n}, API: []*discoveryv1.EndpointSlice{api}, Services: ranges}}) {
			if f.Code == "AddressReserved" {
				said += f.Message()
			}
		}
		if what == "" && said != "" || !strings.HasPrefix(said, "status.loadBalancer.ingress "+ip+" is "+what) && what != "" {
			t.Errorf("%s: %q", ip, said)
		}
	}
}

// The elder keeps an address, whatever the names are.
func TestAddressTakenByTheElder(t *testing.T) {
	claiming := func(name string, created int64) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.Unix(created, 0)},
			Spec:       corev1.ServiceSpec{ExternalIPs: []string{"203.0.113.1"}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	young, old := claiming("a", 20), claiming("b", 10)
	v := View{Service: young, Rivals: []*corev1.Service{old}}
	if got := v.contested(); len(got) != 1 || got[0].About != "203.0.113.1" || !strings.Contains(got[0].Message(), "belongs to Service default/b, which is older") {
		t.Errorf("the younger: %v", got)
	}
	v = View{Service: old, Rivals: []*corev1.Service{young}}
	if got := v.contested(); len(got) != 0 {
		t.Errorf("the elder: %v", got)
	}
}

// What is left of a selector that a Service had is named, with what to do.
func TestLeftOverSlices(t *testing.T) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-abcde", Labels: map[string]string{
			discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new(string), Port: func() *int32 { n := int32(80); return &n }()}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.1"}}},
	}
	want := "EndpointSlice web-abcde is left from a selector that the Service has no more: " +
		"traffic still goes to 1 address that nobody keeps up to date. Delete it, and edit or delete Endpoints web"
	if got := Findings(View{Service: svc, Slices: []*discoveryv1.EndpointSlice{slice}}); len(got) != 1 || got[0].Code != "LeftOverSlices" || got[0].Message() != want {
		t.Errorf("got %v", got)
	}
}

// Whatever objects hold, there is an answer and no panic: fields that are empty, unknown families, texts that are no addresses.
func TestOddObjects(t *testing.T) {
	odd := []View{
		{},
		{Service: &corev1.Service{}},
		{Service: &corev1.Service{}, Endpoints: &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{}, {Addresses: []corev1.EndpointAddress{{}}}}}},
		{Endpoints: &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{}}}},
		{Slices: []*discoveryv1.EndpointSlice{{}}},
		{Service: &corev1.Service{}, Slices: []*discoveryv1.EndpointSlice{{AddressType: "MAC", Endpoints: []discoveryv1.Endpoint{{}, {Addresses: []string{"x"}}}, Ports: []discoveryv1.EndpointPort{{}}}}},
		{Service: &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"a": "b"}, IPFamilies: []corev1.IPFamily{"IPv9"}, Ports: []corev1.ServicePort{{}}}}, Pods: []*corev1.Pod{{}}},
		{Service: &corev1.Service{Spec: corev1.ServiceSpec{ExternalIPs: []string{"", "x", "::1", "::ffff:10.0.0.1"}}}, Rivals: []*corev1.Service{{}}},
	}
	for i, v := range odd {
		for _, f := range Findings(v) {
			if f.Code == "" || f.Message() == "" || strings.Contains(f.Message(), "%!") {
				t.Errorf("view %d: %+v", i, f)
			}
		}
	}
}
