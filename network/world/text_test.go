package world

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func TestText(t *testing.T) {
	w := New()
	web := service("web")
	web.ResourceVersion = "12"
	web.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIPs: []string{"10.96.0.20", "fd00::20"}, Ports: []corev1.ServicePort{
		{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web"), NodePort: 30080},
		{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(5353)},
	}}
	w.Put(web)
	s := endpointSlice("web-b", "web")
	s.ResourceVersion, s.AddressType = "13", discoveryv1.AddressTypeIPv4
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)}, {Port: ptr.To[int32](5353), Protocol: ptr.To(corev1.ProtocolUDP)}}
	s.Endpoints = []discoveryv1.Endpoint{
		{Addresses: []string{"10.244.1.2"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
			NodeName: ptr.To("n1"), Zone: ptr.To("a"), Hostname: ptr.To("web-0"), TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-0"}},
		{Addresses: []string{"192.0.2.7"}},
	}
	w.Put(s)
	w.Put(endpointSlice("web-a", "web"))
	w.Put(endpointSlice("stray-a", "stray"))
	db := service("db")
	db.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: corev1.ClusterIPNone}
	w.Put(db)
	alias := service("alias")
	alias.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example.com"}
	w.Put(alias)
	for name, want := range map[string]string{
		"web": `service default/web type NodePort addresses 10.96.0.20,fd00::20 revision 12
  port http 80/TCP target web node port 30080
  port - 53/UDP target 5353
  slice web-a  ports - revision -
  slice web-b IPv4 ports http:8080/TCP,-:5353/UDP revision 13
    10.244.1.2 ready=true serving=true terminating=false node n1 zone a hostname web-0 pod web-0
    192.0.2.7
`,
		"stray": "service default/stray: none\n  slice stray-a  ports - revision -\n",
		"db":    "service default/db type ClusterIP addresses None revision -\n",
		"alias": "service default/alias type ExternalName addresses db.example.com revision -\n",
		"gone":  "service default/gone: none\n",
	} {
		if got := w.Text(types.NamespacedName{Namespace: "default", Name: name}); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
