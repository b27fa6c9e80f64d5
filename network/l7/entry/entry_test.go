package entry

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft"
	routes "fairlead.dev/fairlead/network/route"
	"fairlead.dev/fairlead/network/world"
)

// family is the lab in one IP version.
type family struct {
	node, gateway, pod, outside, router netip.Addr
	pods, services                      netip.Prefix
	cluster, balancer                   netip.Addr // of the Services
	engine                              netip.AddrPort
}

func families() []family {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	return []family{
		{a("192.0.2.1"), a("10.244.1.1"), a("10.244.1.2"), a("198.51.100.2"), a("198.51.100.1"), p("10.244.1.0/24"), p("10.96.0.0/16"), a("10.96.0.80"), a("203.0.113.1"), lb.EngineIPv4},
		{a("2001:db8::1"), a("fd00:10:244:1::1"), a("fd00:10:244:1::2"), a("2001:db8:100::2"), a("2001:db8:100::1"), p("fd00:10:244:1::/64"), p("fd00:10:96::/112"), a("fd00:10:96::80"), a("2001:db8:113::1"), lb.EngineIPv6},
	}
}

// lab is a node with a pod and a client outside, whose rules send connections to Services to an engine that says what it was told.
type lab struct {
	node, pod, outside *netlab.Netns
	world              *world.World
	entries            *Entries
}

func newLab(t *testing.T) *lab {
	l := &lab{node: netlab.New(t, "node"), world: world.New(), entries: New()}
	pick := func(get func(family) netip.Addr) (all []netip.Addr) {
		for _, f := range families() {
			all = append(all, get(f))
		}
		return all
	}
	nodeIPs := pick(func(f family) netip.Addr { return f.node })
	for _, a := range nodeIPs {
		l.node.Address(netip.PrefixFrom(a, a.BitLen()))
	}
	l.pod = netlab.Leaf(l.node, "pod", pick(func(f family) netip.Addr { return f.pod }), pick(func(f family) netip.Addr { return f.gateway }))
	l.outside = netlab.Leaf(l.node, "outside", pick(func(f family) netip.Addr { return f.outside }), pick(func(f family) netip.Addr { return f.router }))
	cfg := nft.Config{NodeName: "n1", NodeIPs: nodeIPs, Engine: []netip.AddrPort{lb.EngineIPv4, lb.EngineIPv6}}
	links := routes.Config{NodeName: "n1", NodeIPs: nodeIPs, Engine: pick(func(f family) netip.Addr { return f.engine.Addr() })}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	for _, f := range families() {
		cfg.ClusterCIDRs, cfg.ServiceCIDRs = append(cfg.ClusterCIDRs, f.pods), append(cfg.ServiceCIDRs, f.services)
		links.ServiceCIDRs = append(links.ServiceCIDRs, f.services)
		n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, f.pods.String())
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: f.node.String()})
	}
	l.world.Put(n)
	l.world.MarkSynced()
	log := slog.New(slog.DiscardHandler)
	l.do(t, func() error { return routes.New(links, l.world, log).Setup() })
	for _, f := range families() {
		l.listen(t, f.engine)
	}
	proxy := nft.New(cfg, l.world, log)
	l.entries.Node(proxy.Nodes(), api.PodRanges(n))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go l.node.Do(func() { done <- proxy.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *lab) do(t *testing.T, f func() error) {
	t.Helper()
	var err error
	if l.node.Do(func() { err = f() }); err != nil {
		t.Fatal(err)
	}
}

// listen serves at the engine's address: each connection is told which Point it came in by, and from where, or is closed.
func (l *lab) listen(t *testing.T, at netip.AddrPort) {
	t.Helper()
	var socket *net.TCPListener
	l.do(t, func() (err error) {
		socket, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	t.Cleanup(func() { _ = socket.Close() })
	go func() {
		for {
			c, err := socket.AcceptTCP()
			if err != nil {
				return
			}
			raw, err := c.SyscallConn()
			if err == nil {
				_ = raw.Control(func(fd uintptr) {
					if p, err := l.entries.Point(int(fd)); err == nil {
						_, _ = io.WriteString(c, text(p, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()))
					}
				})
			}
			_ = c.Close()
		}
	}()
}

func text(p route.Point, client netip.Addr) string {
	how := "any"
	if p.Local {
		how = "local"
	}
	return strings.Join([]string{p.Service.Name, netip.AddrPortFrom(client, p.Port).String(), how}, " ")
}

// ask connects and returns what it was told, empty if the connection was closed without a word.
func ask(t *testing.T, from *netlab.Netns, to netip.AddrPort) string {
	t.Helper()
	c, err := from.Dial("tcp", netip.Addr{}, to, 10*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, _ := io.ReadAll(c) // closed with a reset perhaps
	return string(said)
}

// service is one with a cluster address, a node port and a load balancer's address in a family.
func (f family) service(name string, port, nodePort int32, how string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: map[string]string{api.AnnotationL7: how}}}
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.ClusterIP, s.Spec.ClusterIPs = f.cluster.String(), []string{f.cluster.String()}
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.Ports = []corev1.ServicePort{{Name: "web", Port: port, NodePort: nodePort}}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: f.balancer.String()}}
	return s
}

// put has the kernel and the entries know Services.
func (l *lab) put(t *testing.T, all ...*corev1.Service) {
	for _, s := range all {
		l.entries.Put(api.Name(s), s)
		l.world.Put(s)
	}
}

// P110, P114: what the engine is told of a connection is the Service and port that its client meant, by which policy, and who
// the client is; what was not translated is closed.
func TestP114_WhatAClientMeant(t *testing.T) {
	for _, f := range families() {
		t.Run(f.node.String(), func(t *testing.T) {
			l := newLab(t)
			l.put(t, f.service("web", 80, 30080, api.L7HTTP))
			until(t, func() bool { return strings.HasPrefix(ask(t, l.outside, netip.AddrPortFrom(f.balancer, 80)), "web ") })
			at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
			for _, c := range []struct {
				from *netlab.Netns
				to   netip.AddrPort
				want string
			}{
				{l.outside, at(f.balancer, 80), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80, Local: true}, f.outside)},
				{l.outside, at(f.node, 30080), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80, Local: true}, f.outside)},
				{l.outside, at(f.cluster, 80), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80}, f.outside)},
				{l.pod, at(f.balancer, 80), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80}, f.pod)},
				{l.pod, at(f.cluster, 80), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80}, f.pod)},
				{l.node, at(f.cluster, 80), text(route.Point{Service: types.NamespacedName{Name: "web"}, Port: 80}, f.node)},
				{l.node, f.engine, ""}, // not translated
			} {
				if got := ask(t, c.from, c.to); got != c.want {
					t.Errorf("to %s: %q, want %q", c.to, got, c.want)
				}
			}
		})
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// P43: of two Services with one address the elder has it, here as in the kernel.
func TestP43_TheElderHasTheEntry(t *testing.T) {
	e, at := New(), netip.MustParseAddrPort("203.0.113.1:80")
	e.Node([]lb.Node{{Name: "n1"}}, nil)
	make := func(name string, created int64) *corev1.Service {
		s := families()[0].service(name, 80, 0, api.L7Gateway)
		s.CreationTimestamp = metav1.Unix(created, 0)
		return s
	}
	owner := func() string {
		p, _ := e.find(at, netip.MustParseAddr("198.51.100.2"))
		return p.Service.Name
	}
	elder, younger := make("elder", 1), make("younger", 2)
	e.Put(api.Name(younger), younger)
	e.Put(api.Name(elder), elder)
	if owner() != "elder" {
		t.Errorf("%q has the address", owner())
	}
	e.Put(api.Name(elder), nil)
	if owner() != "younger" {
		t.Errorf("after the elder is gone %q has the address", owner())
	}
	ordinary := younger.DeepCopy()
	delete(ordinary.Annotations, api.AnnotationL7)
	e.Put(api.Name(younger), ordinary)
	if owner() != "" || len(e.Services()) != 0 {
		t.Errorf("without the annotation %q has the address; there are %v", owner(), e.Services())
	}
}
