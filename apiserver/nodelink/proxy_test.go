package nodelink

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/claim"
)

func TestOutside(t *testing.T) {
	for _, tt := range []struct{ scheme, addr, port, want string }{
		{"", "10.244.0.7", "80", "http://10.244.0.7:80"},
		{"https", "10.244.0.7", "", "https://10.244.0.7"},
		{"", "fd00::7", "80", "http://[fd00::7]:80"},
		{"", "fd00::7", "", "http://[fd00::7]"},
		{"", "127.0.0.1", "80", ""},
		{"", "::1", "80", ""},
		{"", "::ffff:127.0.0.1", "80", ""},
		{"", "169.254.169.254", "80", ""},
		{"", "fe80::1", "80", ""},
		{"", "0.0.0.0", "80", ""},
		{"", "224.0.0.1", "80", ""},
		{"", "", "80", ""},
	} {
		got, err := outside(tt.scheme, tt.addr, tt.port)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%s is allowed: %s", tt.addr, got)
		case tt.want != "" && (err != nil || got.String() != tt.want):
			t.Errorf("%s: %v, %v, want %s", tt.addr, got, err, tt.want)
		}
	}
}

func TestServicePort(t *testing.T) {
	one := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 80}}}}
	two := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 80}, {Name: "admin", Port: 81}}}}
	for _, tt := range []struct {
		svc         *corev1.Service
		asked, want string
		ok          bool
	}{
		{one, "", "web", true}, {one, "web", "web", true}, {one, "80", "web", true}, {one, "81", "", false},
		{two, "", "", false}, {two, "81", "admin", true}, {two, "admin", "admin", true},
	} {
		got, err := servicePort(tt.svc, tt.asked)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%d ports, %q: %q, %v", len(tt.svc.Spec.Ports), tt.asked, got, err)
		}
	}
}

func TestReadyEndpoint(t *testing.T) {
	yes, no, web, admin, p80, p81 := true, false, "web", "admin", int32(8080), int32(8081)
	slice := discoveryv1.EndpointSlice{
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.244.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			{Addresses: []string{"10.244.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.244.0.3"}},
		},
		Ports: []discoveryv1.EndpointPort{{Name: &web, Port: &p80}, {Name: &admin, Port: &p81}},
	}
	last := func(n int) int { return n - 1 }
	first := func(int) int { return 0 }
	if got, ok := readyEndpoint([]discoveryv1.EndpointSlice{slice}, "web", first); !ok || got.String() != "10.244.0.2:8080" {
		t.Errorf("first ready endpoint: %v", got)
	}
	// Ready left out means ready (upstream's EndpointConditions).
	if got, ok := readyEndpoint([]discoveryv1.EndpointSlice{slice}, "admin", last); !ok || got.String() != "10.244.0.3:8081" {
		t.Errorf("last ready endpoint: %v", got)
	}
	if got, ok := readyEndpoint([]discoveryv1.EndpointSlice{slice}, "other", first); ok {
		t.Errorf("endpoint of a port that is not there: %v", got)
	}
}

func TestVantage(t *testing.T) {
	known := claim.Cluster{
		Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Services: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		API: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.100")},
	}
	node := func(name, addr, pods string, ready corev1.ConditionStatus) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: []string{pods}}}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: addr}}
		n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return n
	}
	nodes := []corev1.Node{node("n1", "192.0.2.1", "10.244.1.0/24", corev1.ConditionFalse), node("n2", "192.0.2.2", "10.244.2.0/24", corev1.ConditionTrue)}
	for to, want := range map[string]string{
		"10.244.1.7:80": "n1", "10.244.2.7:80": "n2", "192.0.2.2:80": "n2", "192.0.2.1:80": "n1", "198.51.100.7:80": "n2", "[2001:db8::7]:80": "n2",
		"192.0.2.1:6443": "not allowed", "192.0.2.100:80": "not allowed", "10.244.3.7:80": "no node has it", "10.96.0.1:443": "no node has it",
		"127.0.0.1:80": "no node has it", "169.254.169.254:80": "no node has it", "[::ffff:127.0.0.1]:80": "no node has it",
	} {
		n, err := vantage(nodes, netip.MustParseAddrPort(to), known, 6443)
		if err == nil && n.Name != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", to, n, err, want)
		}
	}
	if _, err := vantage(nodes[:1], netip.MustParseAddrPort("198.51.100.7:80"), known, 6443); err == nil || !strings.Contains(err.Error(), "no node is ready") {
		t.Errorf("with no ready node: %v", err)
	}
}

func TestPodPort(t *testing.T) {
	bare := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
	two := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{}, {Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}, {Name: "admin", ContainerPort: 8081}}}}}}
	for _, tt := range []struct {
		pod         *corev1.Pod
		asked, want string
		ok          bool
	}{
		{bare, "", "", true}, {bare, "80", "80", true}, {bare, "web", "", false}, {two, "", "8080", true}, {two, "admin", "8081", true},
		{two, "9", "9", true}, {two, "0", "", false}, {two, "65536", "", false}, {two, "-1", "", false}, {two, "other", "", false},
	} {
		if got, err := podPort(tt.pod, tt.asked); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %q, %v", tt.asked, got, err)
		}
	}
}
