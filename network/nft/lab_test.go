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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/route"
	"fairlead.dev/fairlead/network/world"
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
	dnsIP     = netip.MustParseAddr("10.96.0.10")
	gateway   = netip.MustParseAddr("10.244.1.1")
	outerIP   = netip.MustParseAddr("198.51.100.1") // n1 towards outside
)

var testConfig = Config{
	NodeName: "n1", NodeIPs: []netip.Addr{nodeIP, six(nodeIP)},
	ClusterCIDRs: []netip.Prefix{prefix("10.244.0.0/16"), sixPrefix(prefix("10.244.0.0/16"))},
	ServiceCIDRs: []netip.Prefix{prefix("10.96.0.0/12"), sixPrefix(prefix("10.96.0.0/12"))},
	ClusterDNS:   []netip.Addr{dnsIP, six(dnsIP)},
}

// six is the IPv6 counterpart of a test's IPv4 address: the same digits in the
// same places, so that 10.244.1.2 becomes fd00:10:244:1::2.
func six(a netip.Addr) netip.Addr {
	if !a.Is4() {
		return a
	}
	b := a.As4()
	return netip.MustParseAddr(fmt.Sprintf("fd00:%d:%d:%d::%d", b[0], b[1], b[2], b[3]))
}

func sixPrefix(p netip.Prefix) netip.Prefix {
	bits := 96 + p.Bits()
	if p.Bits() <= 24 {
		bits = 16 + (p.Bits()+7)/8*16
	}
	return netip.PrefixFrom(six(p.Addr()), bits).Masked()
}

// lab is a node with a running Proxy, two pods, a neighbour and an outside host.
// Every pod serves TCP and UDP on 8080 and says its name. Everything has
// addresses of both IP versions. Tests speak of the IPv4 ones; in a lab with six
// set, objects and addresses become their IPv6 counterparts on the way.
type lab struct {
	six                              bool
	t                                testing.TB
	node, a, b, neighbour, outsideNs *netlab.Netns
	world                            *world.World
	proxy                            *Proxy
	stop                             func()
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, world: world.New(), node: netlab.New(t, "n1")}
	l.a = netlab.Leaf(l.node, "a", two(podA), two(gateway))
	l.b = netlab.Leaf(l.node, "b", two(podB), two(gateway))
	l.neighbour = netlab.New(t, "n2")
	l.connect(prefix("192.0.2.1/24"), l.neighbour, prefix("192.0.2.2/24"))
	for _, a := range append(two(podFar), two(podFar2)...) {
		l.neighbour.Address(netip.PrefixFrom(a, a.BitLen()))
	}
	l.node.Via(node2IP, prefix("10.244.2.0/24"))
	l.node.Via(six(node2IP), sixPrefix(prefix("10.244.2.0/24")))
	l.outsideNs = netlab.New(t, "outside")
	l.connect(prefix("198.51.100.1/24"), l.outsideNs, prefix("198.51.100.2/24"))
	l.node.Via(outsideIP, prefix("0.0.0.0/0"))
	l.node.Via(six(outsideIP), prefix("::/0"))
	var err error
	l.node.Do(func() { err = l.routes().Setup() })
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range l.pods() {
		l.serve(pod.in, netip.AddrPortFrom(pod.ip, 8080), name)
	}
	l.serve(l.outsideNs, netip.AddrPortFrom(outsideIP, 8080), "outside")
	l.serve(l.node, netip.AddrPortFrom(nodeIP, 8080), "host")
	if t.Failed() {
		t.FailNow()
	}
	l.world.Put(newNode("n1", prefix("10.244.1.0/24"), nodeIP))
	l.world.Put(newNode("n2", prefix("10.244.2.0/24"), node2IP))
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

// inBothFamilies runs a test with IPv4 and with IPv6 addresses.
func inBothFamilies(t *testing.T, test func(*testing.T, *lab)) {
	for _, six := range []bool{false, true} {
		t.Run(plan.NewFamily(six).String(), func(t *testing.T) {
			l := newLab(t)
			l.six = six
			test(t, l)
		})
	}
}

// connect joins the node and a namespace, which goes through the node to
// everywhere else.
func (l *lab) connect(here netip.Prefix, there *netlab.Netns, at netip.Prefix) {
	netlab.Connect(l.node, here, there, at)
	netlab.Connect(l.node, sixNet(here), there, sixNet(at))
	there.Via(here.Addr(), prefix("0.0.0.0/0"))
	there.Via(six(here.Addr()), prefix("::/0"))
}

// two is an address and its counterpart.
func two(a netip.Addr) []netip.Addr { return []netip.Addr{a, six(a)} }

// sixNet is the counterpart of an address in its network.
func sixNet(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(six(p.Addr()), sixPrefix(p).Bits())
}

func (l *lab) serve(in *netlab.Netns, at netip.AddrPort, name string) {
	in.Serve(at, name)
	in.Serve(netip.AddrPortFrom(six(at.Addr()), at.Port()), name)
}

func newNode(name string, pods netip.Prefix, addr netip.Addr) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.NodeSpec{PodCIDR: pods.String(), PodCIDRs: []string{pods.String(), sixPrefix(pods).String()}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: addr.String()},
			{Type: corev1.NodeInternalIP, Address: six(addr).String()}}}}
}

// ip is an address in the lab's family.
func (l *lab) ip(a netip.Addr) netip.Addr {
	if l.six && a.IsValid() {
		return six(a)
	}
	return a
}

// at is an address and port in the lab's family.
func (l *lab) at(s string) netip.AddrPort {
	a := netip.MustParseAddrPort(s)
	return netip.AddrPortFrom(l.ip(a.Addr()), a.Port())
}

func (l *lab) text(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return l.ip(a).String()
	}
	if p, err := netip.ParsePrefix(s); err == nil && l.six {
		return sixPrefix(p).String()
	}
	return s
}

func (l *lab) texts(all []string) {
	for i := range all {
		all[i] = l.text(all[i])
	}
}

// set stores objects, in the lab's family.
func (l *lab) set(objects ...any) {
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			o = o.DeepCopy()
			o.Spec.ClusterIP = l.text(o.Spec.ClusterIP)
			l.texts(o.Spec.ClusterIPs)
			l.texts(o.Spec.ExternalIPs)
			l.texts(o.Spec.LoadBalancerSourceRanges)
			for i := range o.Status.LoadBalancer.Ingress {
				o.Status.LoadBalancer.Ingress[i].IP = l.text(o.Status.LoadBalancer.Ingress[i].IP)
			}
			l.world.Put(o)
		case *discoveryv1.EndpointSlice:
			o = o.DeepCopy()
			for i := range o.Endpoints {
				l.texts(o.Endpoints[i].Addresses)
			}
			if l.six {
				o.AddressType = discoveryv1.AddressTypeIPv6
			}
			l.world.Put(o)
		case *corev1.Node:
			l.world.Put(o)
		}
	}
}

func (l *lab) routes() *route.Routes {
	return route.New(route.Config{NodeName: "n1", NodeIPs: testConfig.NodeIPs, ServiceCIDRs: testConfig.ServiceCIDRs, ClusterDNS: testConfig.ClusterDNS},
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
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain for %s; stats %+v", what, l.proxy.Stats())
		}
	}
}

// put stores objects and waits until the kernel has what they change.
func (l *lab) put(objects ...any) {
	l.t.Helper()
	l.set(objects...)
	l.settle()
}

// settle waits until the kernel has everything the World has now: a marker
// Service put last is written last.
func (l *lab) settle() {
	l.t.Helper()
	name := types.NamespacedName{Namespace: "marker", Name: fmt.Sprint("m", time.Now().UnixNano())}
	marker := newService(name.Name, "10.97.0.1", corev1.ServicePort{Port: int32(1 + time.Now().UnixNano()%60000)})
	marker.Namespace = name.Namespace
	l.set(marker)
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

// stepped returns a Proxy's loop that a test steps by hand.
func stepped(t testing.TB, ns *netlab.Netns, cfg Config, w *world.World) *loop {
	t.Helper()
	var s *socket
	var err error
	ns.Do(func() { s, err = dial() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return newLoop(New(cfg, w, slog.New(slog.DiscardHandler)), s, newCleaner(nil))
}
