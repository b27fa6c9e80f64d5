package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/route"
	"fairlead.dev/fairlead/world"
)

// The addresses of the lab. n1 is the node under test; n2 is a neighbour with
// pods of its own; outside reaches n1 through a router's worth of nothing.
var (
	nodeIP    = netip.MustParseAddr("192.0.2.1")
	node2IP   = netip.MustParseAddr("192.0.2.2")
	podA      = netip.MustParseAddr("10.244.1.2")
	podB      = netip.MustParseAddr("10.244.1.3")
	podFar    = netip.MustParseAddr("10.244.2.2")
	podFar2   = netip.MustParseAddr("10.244.2.3")
	outsideIP = netip.MustParseAddr("198.51.100.2")
	gateway   = netip.MustParseAddr("10.244.1.1")
	outerIP   = netip.MustParseAddr("198.51.100.1") // n1 towards outside
)

var testConfig = Config{
	NodeName: "n1", NodeIPs: []netip.Addr{nodeIP},
	ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/12"),
	ClusterDNS: netip.MustParseAddr("10.96.0.10"),
}

// lab is a node with a running Proxy, two pods, a neighbour and an outside host.
// Every pod serves TCP and UDP on 8080 and says its name.
type lab struct {
	t                                testing.TB
	node, a, b, neighbour, outsideNs *netlab.Netns
	world                            *world.World
	proxy                            *Proxy
	stop                             func()
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, world: world.New(), node: netlab.New(t, "n1")}
	l.node.Sysctl("net/ipv4/icmp_ratelimit", "0") // every refusal is told, not six and then one a second
	l.a = netlab.Pod(l.node, "a", podA, gateway)
	l.b = netlab.Pod(l.node, "b", podB, gateway)
	l.neighbour = netlab.New(t, "n2")
	netlab.Connect(l.node, prefix("192.0.2.1/24"), l.neighbour, prefix("192.0.2.2/24"))
	l.neighbour.Route("default", "via", nodeIP.String())
	l.neighbour.Address(prefix("10.244.2.2/32"))
	l.neighbour.Address(prefix("10.244.2.3/32"))
	l.node.Route("10.244.2.0/24", "via", node2IP.String())
	l.outsideNs = netlab.New(t, "outside")
	netlab.Connect(l.node, prefix("198.51.100.1/24"), l.outsideNs, prefix("198.51.100.2/24"))
	l.outsideNs.Route("default", "via", outerIP.String())
	l.node.Route("default", "via", outsideIP.String())
	var err error
	l.node.Do(func() { err = l.routes().Setup() })
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range l.pods() {
		pod.in.Serve(netip.AddrPortFrom(pod.ip, 8080), name)
	}
	l.outsideNs.Serve(netip.AddrPortFrom(outsideIP, 8080), "outside")
	l.node.Serve(netip.AddrPortFrom(nodeIP, 8080), "host")
	if t.Failed() {
		t.FailNow()
	}
	l.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP.String()}}}})
	l.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.2.0/24"},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: node2IP.String()}}}})
	l.world.MarkSynced()
	return l
}

// labPod is a pod of the lab and where it lives.
type labPod struct {
	in *netlab.Netns
	ip netip.Addr
}

func (l *lab) pods() map[string]labPod {
	return map[string]labPod{"a": {l.a, podA}, "b": {l.b, podB}, "far": {l.neighbour, podFar}, "far2": {l.neighbour, podFar2}}
}

func (l *lab) routes() *route.Routes {
	return route.New(route.Config{NodeName: "n1", NodeIPs: []netip.Addr{nodeIP}, ServiceCIDRs: []netip.Prefix{testConfig.ServiceCIDR}, ClusterDNS: []netip.Addr{testConfig.ClusterDNS}},
		l.world, slog.New(slog.DiscardHandler))
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// start runs the Proxy until the end of the test or stop.
func (l *lab) start() {
	l.t.Helper()
	l.startAs(testConfig)
}

func (l *lab) startAs(cfg Config) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	l.proxy = New(cfg, l.world, slog.New(slog.DiscardHandler))
	go l.node.Do(func() { done <- l.proxy.Run(ctx) })
	l.stop = func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
		l.stop = func() {}
	}
	l.t.Cleanup(func() { l.stop() })
	l.until("the first write", func() bool { return l.proxy.Stats().Transactions > 0 })
}

// until waits for a condition.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain for %s; stats %+v", what, l.proxy.Stats())
		}
	}
}

// put stores objects and waits until the kernel has what they change.
func (l *lab) put(objects ...any) {
	l.t.Helper()
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			l.world.Put(o)
		case *discoveryv1.EndpointSlice:
			l.world.Put(o)
		}
	}
	l.settle()
}

// settle waits until the kernel has everything the World has now: a marker
// Service put last is written last.
func (l *lab) settle() {
	l.t.Helper()
	name := world.ServiceName{Namespace: "marker", Name: fmt.Sprint("m", time.Now().UnixNano())}
	marker := newService(name.Name, "10.97.0.1", corev1.ServicePort{Port: int32(1 + time.Now().UnixNano()%60000)})
	marker.Namespace = name.Namespace
	l.world.Put(marker)
	l.until("the marker", func() bool { return !l.proxy.Applied(name).IsZero() })
	l.world.Delete(marker)
	l.until("the marker to go", func() bool { return l.proxy.Applied(name).IsZero() })
}

func newService(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	if len(ports) == 0 {
		ports = []corev1.ServicePort{
			{Name: "tcp", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP},
		}
	}
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: ports}}
}

// newSlice makes the one EndpointSlice of a Service: ready endpoints, with the
// node that their address tells.
func newSlice(of string, addrs ...netip.Addr) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: of + "-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: of}}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("tcp"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)},
			{Name: ptr.To("udp"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolUDP)},
		}}
	for _, a := range addrs {
		e := discoveryv1.Endpoint{Addresses: []string{a.String()}}
		switch {
		case prefix("10.244.1.0/24").Contains(a) || a == nodeIP:
			e.NodeName = ptr.To("n1")
		case prefix("10.244.2.0/24").Contains(a):
			e.NodeName = ptr.To("n2")
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// newLoop returns a Proxy's loop that a test steps by hand.
func newLoop(t testing.TB, ns *netlab.Netns, w *world.World) *loop {
	t.Helper()
	l := &loop{
		proxy: New(testConfig, w, slog.New(slog.DiscardHandler)), book: newBook(), changed: map[world.ServiceName]struct{}{},
		kernel: &kernel{flags: tableOwner | tablePersist}, cleaner: newCleaner(nil), stale: true,
	}
	var err error
	ns.Do(func() { l.kernel.socket, err = dial() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kernel.socket.close)
	return l
}
