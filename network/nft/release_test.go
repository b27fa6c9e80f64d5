package nft

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// captured is a Service that claims the outside host's address and port by its status.
func captured() *corev1.Service {
	s := newService("greedy", "10.96.6.6", corev1.ServicePort{Name: "tcp", Port: 8080, Protocol: corev1.ProtocolTCP})
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: outsideIP.String()}}
	return s
}

// TestP63_RulesLeftBehindDoNotHideTheAPIServer has a Proxy that knows nothing of an API server leave rules behind that take its
// connections, as if the address had changed hands while no Proxy ran.
func TestP63_RulesLeftBehindDoNotHideTheAPIServer(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		if err := l.release(); err != nil {
			t.Fatal("without a table:", err)
		}
		l.start()
		l.put(captured(), newSlice("greedy", podA))
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "a")
		l.stop()
		for range 2 {
			if err := l.release(); err != nil {
				t.Fatal(err)
			}
			l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "outside")
			l.reaches(l.b, "tcp", "198.51.100.2:8080", anyClient, "outside")
			l.reaches(l.node, "tcp", "10.96.6.6:8080", anyClient, "a") // all else goes on
		}
		cfg := testConfig
		cfg.APIServers = []netip.AddrPort{at("198.51.100.2:8080"), l.at("198.51.100.2:8080")}
		l.startAs(cfg)
		l.settle()
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "outside")
		l.reaches(l.node, "tcp", "10.96.6.6:8080", anyClient, "a")
	})
}

func (l *lab) release() (err error) {
	l.node.Do(func() { err = Release([]netip.AddrPort{l.at("198.51.100.2:8080")}) })
	return err
}

// TestP63_AnAPIServerBehindAClusterAddressStaysThere releases the address by which in-cluster programs reach the API.
func TestP63_AnAPIServerBehindAClusterAddressStaysThere(t *testing.T) {
	l := newLab(t)
	l.start()
	l.put(newService("kubernetes", "10.96.0.1", corev1.ServicePort{Name: "tcp", Port: 443}), newSlice("kubernetes", podA))
	l.stop()
	l.node.Do(func() {
		if err := Release([]netip.AddrPort{at("10.96.0.1:443")}); err != nil {
			t.Error(err)
		}
	})
	l.reaches(l.node, "tcp", "10.96.0.1:443", anyClient, "a")
}

// TestP63_AddressesThatBecomeReserved has an address become a node's, and an API server's, after a Service has claimed it.
func TestP63_AddressesThatBecomeReserved(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.start()
		l.put(captured(), newSlice("greedy", podA))
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "a")
		n := newNode("n3", prefix("10.244.3.0/24"), l.ip(outsideIP))
		l.put(n)
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "outside")
		l.world.Delete(n)
		l.settle()
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "a")
		l.put(newService(api.APIService.Name, "10.96.0.1", corev1.ServicePort{Name: "tcp", Port: 443}), newSlice(api.APIService.Name, outsideIP))
		l.reaches(l.node, "tcp", "198.51.100.2:8080", anyClient, "outside")
		l.reaches(l.node, "tcp", "10.96.0.1:443", anyClient, "outside")
	})
}
