package nodelink

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
