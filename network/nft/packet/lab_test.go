package packet

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// family is the addresses of the lab in one IP family.
type family struct {
	name               string
	cluster, services  netip.Prefix
	nodes, gateways    [2]netip.Addr // of nodes, and towards their pods
	podRanges          [2]netip.Prefix
	pods               [2][2]netip.Addr // of each node
	router             netip.Addr       // where nodes and the client send what they have no route for
	outside, elsewhere netip.Addr       // the client's two addresses
	external           netip.Prefix     // load balancer and external addresses
}

func ipv4() family {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	return family{
		name: "ipv4", cluster: p("10.244.0.0/16"), services: p("10.96.0.0/16"),
		nodes: [2]netip.Addr{a("192.0.2.1"), a("192.0.2.2")}, gateways: [2]netip.Addr{a("10.244.1.1"), a("10.244.2.1")},
		podRanges: [2]netip.Prefix{p("10.244.1.0/24"), p("10.244.2.0/24")},
		pods:      [2][2]netip.Addr{{a("10.244.1.2"), a("10.244.1.3")}, {a("10.244.2.2"), a("10.244.2.3")}},
		router:    a("192.0.2.254"), outside: a("198.51.100.2"), elsewhere: a("198.51.100.130"), external: p("203.0.113.0/24"),
	}
}

func ipv6() family {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	return family{
		name: "ipv6", cluster: p("fd00:10:244::/56"), services: p("fd00:10:96::/112"),
		nodes: [2]netip.Addr{a("fd00:10:88::1"), a("fd00:10:88::2")}, gateways: [2]netip.Addr{a("fd00:10:244:1::1"), a("fd00:10:244:2::1")},
		podRanges: [2]netip.Prefix{p("fd00:10:244:1::/64"), p("fd00:10:244:2::/64")},
		pods:      [2][2]netip.Addr{{a("fd00:10:244:1::2"), a("fd00:10:244:1::3")}, {a("fd00:10:244:2::2"), a("fd00:10:244:2::3")}},
		router:    a("fd00:10:88::fe"), outside: a("2001:db8:100::2"), elsewhere: a("2001:db8:100::82"), external: p("2001:db8:113::/120"),
	}
}

// families are those that a Proxy serves.
func families() []family { return []family{ipv4(), ipv6()} }

// bare is the prefix of one address.
func bare(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// nth is the address n places after the first of a range.
func nth(in netip.Prefix, n int) netip.Addr {
	b := in.Addr().AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// machine is a network namespace with its address in the lab's family.
type machine struct {
	*netlab.Netns
	name string
	ip   netip.Addr
	node string       // the node it is or runs on; empty for the client
	face []netip.Addr // what others may see a node as
}

// node is a machine with a Proxy.
type node struct {
	machine
	engine machine // what serves at the address of the node's L7 engine
	proxy  *nft.Proxy
	stop   func()
}

// lab is nodes a and b with two pods each, and a client outside. All are leaves
// of a router, which sends what is for Services to a, or to the node that enter
// names. Everything serves TCP and UDP on ports 8080 and 8081, and nodes at the
// address of their engines, says its name, and whom it sees.
type lab struct {
	t              testing.TB
	f              family
	router         *netlab.Netns
	a, b           *node
	a1, a2, b1, b2 machine
	out            machine
	world          *world.World
	noEngine       bool // nodes whose proxies start from now on have none
	named          int  // Services made
}

// each runs a test in a fresh lab of each family with running Proxies.
func each(t *testing.T, test func(*lab)) {
	eachIdle(t, func(l *lab) {
		l.world.MarkSynced()
		l.start(l.a)
		l.start(l.b)
		test(l)
	})
}

// eachIdle is each without Proxies, and with a World that is not complete.
func eachIdle(t *testing.T, test func(*lab)) {
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // much of the time is waiting for silence
			test(newLab(t, f))
		})
	}
}

func newLab(t testing.TB, f family) *lab {
	t.Helper()
	l := &lab{t: t, f: f, world: world.New(), router: netlab.New(t, "router")}
	all := []family{ipv4(), ipv6()} // machines always have both
	pick := func(get func(family) netip.Addr) (addrs []netip.Addr) {
		for _, f := range all {
			addrs = append(addrs, get(f))
		}
		return addrs
	}
	routers := pick(func(f family) netip.Addr { return f.router })
	leaf := func(in *netlab.Netns, name string, at func(family) netip.Addr, gateways []netip.Addr) machine {
		m := machine{Netns: netlab.Leaf(in, name, pick(at), gateways), name: name, ip: at(f)}
		for _, a := range pick(at) {
			for _, port := range []uint16{8080, 8081} {
				m.Serve(netip.AddrPortFrom(a, port), name)
			}
		}
		return m
	}
	newNode := func(i int, name string) (*node, machine, machine) {
		n := &node{machine: leaf(l.router, name, func(f family) netip.Addr { return f.nodes[i] }, routers)}
		n.machine.node, n.face = name, []netip.Addr{f.nodes[i], f.gateways[i]}
		for _, at := range engines {
			n.own(t, at.Addr())
			n.Serve(at, "engine-"+name)
			if at.Addr().Is6() == f.nodes[i].Is6() {
				n.engine = machine{name: "engine-" + name, ip: at.Addr(), node: name}
			}
		}
		for _, path := range []string{"all", "default", "eth0"} { // packets come and go by the same link
			n.Sysctl("net/ipv4/conf/"+path+"/send_redirects", "0")
		}
		var pods [2]machine
		for k := range pods {
			pods[k] = leaf(n.Netns, fmt.Sprint(name, k+1), func(f family) netip.Addr { return f.pods[i][k] },
				pick(func(f family) netip.Addr { return f.gateways[i] }))
			pods[k].node = name
		}
		for _, f := range all {
			l.router.Via(f.nodes[i], f.podRanges[i])
		}
		return n, pods[0], pods[1]
	}
	l.a, l.a1, l.a2 = newNode(0, "a")
	l.b, l.b1, l.b2 = newNode(1, "b")
	l.out = leaf(l.router, "out", func(f family) netip.Addr { return f.outside }, routers)
	for _, f := range all {
		l.out.Address(bare(f.elsewhere))
		l.router.Via(f.outside, bare(f.elsewhere))
		l.router.Via(f.nodes[0], f.services, f.external)
		for i, name := range []string{"a", "b"} {
			l.putNode(name, f, i)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// own gives a node the address of its engine, as package route does: the kernel takes it for the source of nothing else.
func (n *node) own(t testing.TB, engine netip.Addr) {
	t.Helper()
	how := []string{"scope", "host"}
	if engine.Is6() {
		how = []string{"nodad", "preferred_lft", "0"}
	}
	out, err := n.Command("ip", append([]string{"address", "add", bare(engine).String(), "dev", "lo"}, how...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// putNode tells the World of a node, or of one more address of it.
func (l *lab) putNode(name string, f family, i int) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if old := l.world.Node(name); old != nil {
		n = old.DeepCopy()
	} else {
		n.Spec.PodCIDR = f.podRanges[i].String()
	}
	n.Labels = map[string]string{corev1.LabelTopologyZone: "zone-" + name}
	n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, f.podRanges[i].String())
	n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: f.nodes[i].String()})
	l.world.Put(n)
}

// engines are where the engine of each node is.
var engines = []netip.AddrPort{lb.EngineIPv4, lb.EngineIPv6}

// config is that of a node's Proxy.
func config(name string) nft.Config {
	i := 0
	if name == "b" {
		i = 1
	}
	cfg := nft.Config{NodeName: name, Engine: engines}
	for _, f := range families() {
		cfg.NodeIPs = append(cfg.NodeIPs, f.nodes[i])
		cfg.ClusterCIDRs = append(cfg.ClusterCIDRs, f.cluster)
		cfg.ServiceCIDRs = append(cfg.ServiceCIDRs, f.services)
	}
	return cfg
}

// enter makes packets from outside to Services' addresses arrive at a node.
func (l *lab) enter(n *node) { l.router.Via(n.ip, l.f.services, l.f.external) }

// start runs a node's Proxy until the end of the test or n.stop.
func (l *lab) start(n *node) {
	l.t.Helper()
	l.run(n)
	l.until("the first write on "+n.name, func() bool { return n.proxy.Stats().Transactions > 0 })
}

func (l *lab) run(n *node) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := config(n.name)
	if l.noEngine {
		cfg.Engine = nil
	}
	n.proxy = nft.New(cfg, l.world, slog.New(slog.DiscardHandler))
	go n.Do(func() { done <- n.proxy.Run(ctx) })
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run on %s: %v", n.name, err)
		}
		n.stop = func() {}
	}
	l.t.Cleanup(func() { n.stop() })
}

// until waits for a condition.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			for _, n := range []*node{l.a, l.b} {
				if n.proxy != nil {
					l.t.Logf("proxy %s: %+v", n.name, n.proxy.Stats())
				}
			}
			l.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// put stores objects and waits until both kernels have what they change.
func (l *lab) put(objects ...runtime.Object) {
	l.t.Helper()
	for _, o := range objects {
		l.world.Put(o)
	}
	l.settle()
}

// remove is put's opposite.
func (l *lab) remove(objects ...runtime.Object) {
	l.t.Helper()
	for _, o := range objects {
		l.world.Delete(o)
	}
	l.settle()
}

// settle waits until the kernels have all that the World has: a Service put last
// is written last.
func (l *lab) settle() {
	l.t.Helper()
	marker := l.service("marker")
	name := types.NamespacedName{Namespace: marker.Namespace, Name: marker.Name}
	applied := func(want bool) func() bool {
		return func() bool {
			return l.a.proxy.Applied(name).IsZero() != want && l.b.proxy.Applied(name).IsZero() != want
		}
	}
	l.world.Put(marker)
	l.until("a change to be written", applied(true))
	l.world.Delete(marker)
	l.until("a deletion to be written", applied(false))
}
