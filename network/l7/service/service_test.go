package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

func service(how string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: map[string]string{api.AnnotationL7: how}},
		Spec: corev1.ServiceSpec{Ports: ports}}
}

// What each kind of port becomes, one line an entry.
func TestEntries(t *testing.T) {
	ports := []corev1.ServicePort{
		{Name: "web", Port: 80}, {Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP},
		{Name: "grpc", Port: 81, AppProtocol: ptr.To("grpc")}, {Name: "h2c", Port: 82, AppProtocol: ptr.To("kubernetes.io/h2c")},
		{Name: "ws", Port: 83, AppProtocol: ptr.To("kubernetes.io/ws")}, {Name: "tls", Port: 443, AppProtocol: ptr.To("https")},
		{Name: "db", Port: 5432, AppProtocol: ptr.To("example.org/postgres")},
	}
	var got []string
	for _, e := range Entries(service(api.L7HTTP, ports...)) {
		got = append(got, describe(e))
	}
	want := []string{
		"80 HTTP to default/web:80 HTTP1", "80 HTTP to default/web:80 HTTP1 local",
		"81 HTTP to default/web:81 HTTP2", "81 HTTP to default/web:81 HTTP2 local",
		"82 HTTP to default/web:82 HTTP2", "82 HTTP to default/web:82 HTTP2 local",
		"83 HTTP to default/web:83 HTTP1", "83 HTTP to default/web:83 HTTP1 local",
		"443 TCP to default/web:443 HTTP1", "443 TCP to default/web:443 HTTP1 local",
		"5432 TCP to default/web:5432 HTTP1", "5432 TCP to default/web:5432 HTTP1 local",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, how := range []string{"", api.L7Gateway, "on"} {
		if all := Entries(service(how, ports...)); len(all) > 0 {
			t.Errorf("%q has %d entries", how, len(all))
		}
	}
}

func describe(e *route.Entry) string {
	l := e.Listeners[0]
	var b route.Backend
	if e.Protocol == route.TCP {
		b = l.Streams[0].Backends[0]
	} else {
		b = l.Hosts.Find(&route.Request{Host: "any.example.org", Path: "/x"}).Action.Backends[0]
	}
	text := fmt.Sprintf("%d %s to %s:%d HTTP%d", e.Port, e.Protocol, b.Service, b.Port, 1+b.Protocol)
	if e.Local && b.Local {
		text += " local"
	}
	return text
}

// P115: sessionAffinity is kept by the engine: the client's address decides.
func TestP115_AffinityByTheClientsAddress(t *testing.T) {
	s := service(api.L7HTTP, corev1.ServicePort{Port: 80})
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	rule := Entries(s)[0].Listeners[0].Hosts.Find(&route.Request{Path: "/"})
	if got := rule.Action.Balance; got != (route.Balance{Kind: route.Hashed, HashBy: "$remote_addr"}) {
		t.Errorf("%+v", got)
	}
}
