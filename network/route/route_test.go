package route

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/route/plan"
	"fairlead.dev/fairlead/network/world"
)

func node(name, ip, cidr string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: cidr}}
	if ip != "" {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: ip}}
	}
	return n
}

func hop(to, via string) plan.Hop {
	return plan.Hop{To: netip.MustParsePrefix(to), Via: netip.MustParseAddr(via)}
}

// dual is a node with an address and a pod range of each family.
func dual(name string, n int) *corev1.Node {
	d := node(name, fmt.Sprintf("192.0.2.%d", n), fmt.Sprintf("10.244.%d.0/24", n))
	d.Spec.PodCIDRs = []string{d.Spec.PodCIDR, fmt.Sprintf("fd00:244:0:%d::/64", n)}
	d.Status.Addresses = append(d.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("2001:db8::%d", n)})
	return d
}

// Each range is reached through the address of its family; one that has none waits.
func TestPlanOfBothFamilies(t *testing.T) {
	half := dual("n4", 4)
	half.Status.Addresses = half.Status.Addresses[:2]
	want := []plan.Hop{hop("10.244.2.0/24", "192.0.2.2"), hop("10.244.4.0/24", "192.0.2.4"), hop("fd00:244:0:2::/64", "2001:db8::2")}
	if got := plan.ToNodes([]*corev1.Node{dual("n1", 1), dual("n2", 2), half}, "n1"); !slices.Equal(got, want) {
		t.Errorf("Plan = %v, want %v", got, want)
	}
}

func TestPlan(t *testing.T) {
	nodes := []*corev1.Node{
		node("n3", "192.0.2.3", "10.244.3.7/24"),
		node("n1", "192.0.2.1", "10.244.1.0/24"),
		node("n2", "192.0.2.2", "10.244.2.0/24"),
		node("n4", "", "10.244.4.0/24"),          // no address yet
		node("n5", "192.0.2.5", ""),              // no range yet
		node("n6", "192.0.2.6", "10.244.2.0/24"), // n2's range
		node("n7", "192.0.2.7", "10.244.1.0/24"), // our own range
		node("n8", "192.0.2.8", "fd00::/64"),
		node("n9", "127.0.0.1", "10.244.9.0/24"), // where nobody else can be reached
		node("na", "0.0.0.0", "10.244.10.0/24"),
		node("nb", "169.254.1.1", "10.244.11.0/24"),
		node("nc", "224.0.0.1", "10.244.12.0/24"),
	}
	want := []plan.Hop{hop("10.244.2.0/24", "192.0.2.2"), hop("10.244.3.0/24", "192.0.2.3")}
	if got := plan.ToNodes(nodes, "n1"); !slices.Equal(got, want) {
		t.Errorf("Plan = %v, want %v", got, want)
	}
}

func TestDiff(t *testing.T) {
	a, b, c, moved := hop("10.244.2.0/24", "192.0.2.2"), hop("10.244.3.0/24", "192.0.2.3"), hop("10.244.4.0/24", "192.0.2.4"), hop("10.244.3.0/24", "192.0.2.9")
	missing, stale := plan.Diff([]plan.Hop{a, b}, []plan.Hop{a, moved, c})
	if !slices.Equal(missing, []plan.Hop{moved, c}) || !slices.Equal(stale, []plan.Hop{b}) {
		t.Errorf("missing %v, stale %v", missing, stale)
	}
}

var testConfig = Config{NodeName: "n1",
	NodeIPs:      []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
	ClusterDNS:   []netip.Addr{netip.MustParseAddr("10.96.0.10")},
}

// lab is a node on a segment with another host.
func lab(t *testing.T) (n, other *netlab.Netns) {
	n, other = netlab.New(t, "n1"), netlab.New(t, "n2")
	netlab.Connect(n, netip.MustParsePrefix("192.0.2.1/24"), other, netip.MustParsePrefix("192.0.2.2/24"))
	return n, other
}

func show(t *testing.T, n *netlab.Netns) string {
	t.Helper()
	four, err := n.Command("ip", "-4", "route", "show", "table", "all")
	if err != nil {
		t.Fatal(err)
	}
	six, err := n.Command("ip", "-6", "route", "show", "table", "all")
	if err != nil {
		t.Fatal(err)
	}
	links, err := n.Command("ip", "-brief", "link")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(links + four + six) {
		if !strings.Contains(line, "fe80:") { // come by themselves, when the kernel has asked whether anybody has them
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// The cluster DNS address answers on a link without carrier, to the node itself
// and to a pod, and Clean leaves no trace.
func TestSetupAndClean(t *testing.T) {
	n, _ := lab(t)
	before := show(t, n)
	r := New(testConfig, world.New(), slog.New(slog.DiscardHandler))
	for range 2 { // the second time finds everything in place
		var err error
		n.Do(func() { err = r.Setup() })
		if err != nil {
			t.Fatal(err)
		}
	}
	dns := netip.AddrPortFrom(testConfig.ClusterDNS[0], 53)
	n.Serve(dns, "dns")
	pod := netlab.Pod(n, "pod", netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("10.244.1.1"))
	for _, from := range []*netlab.Netns{n, pod} {
		if a, err := from.TCP(netip.Addr{}, dns, time.Second); err != nil || a.Name != "dns" {
			t.Errorf("tcp: %+v, %v", a, err)
		}
		if a, err := from.UDP(netip.Addr{}, dns, time.Second); err != nil || a.Name != "dns" {
			t.Errorf("udp: %+v, %v", a, err)
		}
	}
	if out, err := n.Command("ip", "route", "get", "10.96.3.4"); err != nil || !strings.Contains(out, "dev fairlead0 src 192.0.2.1") {
		t.Errorf("route to a cluster address: %v %s", err, out)
	}
	if out, err := n.Command("ip", "link", "delete", "eth1"); err != nil { // the pod's
		t.Fatal(err, out)
	}
	for range 2 {
		var err error
		n.Do(func() { err = Clean() })
		if err != nil {
			t.Fatal(err)
		}
	}
	if after := show(t, n); after != before {
		t.Errorf("before:\n%s\nafter Clean:\n%s", before, after)
	}
}

// With both families: the DNS answers at both its addresses to a pod, the node's own connections to a cluster address
// carry its address of the family, other nodes' pods are reached, and Clean leaves no trace.
func TestBothFamilies(t *testing.T) {
	n, other := lab(t)
	for i, space := range []*netlab.Netns{n, other} {
		if out, err := space.Command("ip", "address", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad"); err != nil {
			t.Fatal(err, out)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(show(t, n), "local 2001:db8::1 dev eth0"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the address does not become usable")
		}
	}
	n.Sysctl("net/ipv6/conf/default/accept_dad", "0") // as on a node: the pod's gateway is usable at once
	n.Sysctl("net/ipv6/conf/all/forwarding", "1")
	other.Address(netip.MustParsePrefix("10.244.2.2/32"), netip.MustParsePrefix("fd00:244:0:2::2/128"))
	before := show(t, n)
	cfg := Config{
		NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("fd00:96::/112"), netip.MustParsePrefix("10.96.0.0/12")},
		ClusterDNS:   []netip.Addr{netip.MustParseAddr("fd00:96::a"), netip.MustParseAddr("10.96.0.10")},
	}
	w := world.New()
	w.Put(dual("n1", 1))
	w.Put(dual("n2", 2))
	w.MarkSynced()
	r := New(cfg, w, slog.New(slog.DiscardHandler))
	for range 2 { // the second time finds everything in place
		var err error
		n.Do(func() { err = r.Setup() })
		if err != nil {
			t.Fatal(err)
		}
	}
	pod := netlab.Leaf(n, "pod", []netip.Addr{netip.MustParseAddr("fd00:244:0:1::2")}, []netip.Addr{netip.MustParseAddr("fd00:244:0:1::1")})
	for _, addr := range cfg.ClusterDNS {
		n.Serve(netip.AddrPortFrom(addr, 53), "dns")
	}
	for _, from := range []*netlab.Netns{n, pod} {
		a, err := from.UDP(netip.Addr{}, netip.AddrPortFrom(cfg.ClusterDNS[0], 53), 2*time.Second)
		for tries := 1; err != nil && tries < 5; tries++ { // a datagram may be lost
			a, err = from.UDP(netip.Addr{}, netip.AddrPortFrom(cfg.ClusterDNS[0], 53), 2*time.Second)
		}
		if err != nil || a.Name != "dns" {
			t.Errorf("dns: %+v, %v", a, err)
		}
	}
	if out, err := n.Command("ip", "route", "get", "fd00:96::77"); err != nil || !strings.Contains(out, "dev fairlead0") || !strings.Contains(out, "src 2001:db8::1") {
		t.Errorf("route to a cluster address: %v %s", err, out)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go n.Do(func() { done <- r.Run(ctx) })
	for i, to := range []string{"10.244.2.2:8080", "[fd00:244:0:2::2]:8080"} {
		name := fmt.Sprint("far", i)
		other.Serve(netip.MustParseAddrPort(to), name)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			a, err := n.TCP(netip.Addr{}, netip.MustParseAddrPort(to), time.Second)
			if err == nil && a.Name == name {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not reached: %v\n%s", to, err, show(t, n))
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if out, err := n.Command("ip", "link", "delete", "eth1"); err != nil { // the pod's
		t.Fatal(err, out)
	}
	var err error
	n.Do(func() { err = Clean() })
	if err != nil {
		t.Fatal(err)
	}
	if after := show(t, n); after != before {
		t.Errorf("before:\n%s\nafter Clean:\n%s", before, after)
	}
}

func TestSetupNamesAMissingNodeAddress(t *testing.T) {
	n, _ := lab(t)
	cfg := testConfig
	cfg.NodeIPs = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	var err error
	n.Do(func() { err = New(cfg, world.New(), slog.New(slog.DiscardHandler)).Setup() })
	if err == nil || !strings.Contains(err.Error(), "is 192.0.2.77 an address of this node?") {
		t.Errorf("err = %v", err)
	}
}

// Routes follow the nodes; stale ones of ours go, also those of an earlier
// process, and nobody else's do.
func TestRunFollowsNodes(t *testing.T) {
	n, other := lab(t)
	other.Address(netip.MustParsePrefix("10.244.2.2/32"))
	other.Serve(netip.MustParseAddrPort("10.244.2.2:8080"), "far")
	n.Route("10.244.9.0/24", "via", "192.0.2.2", "proto", "70") // left behind
	n.Route("10.244.8.0/24", "via", "192.0.2.2")                // somebody else's
	w := world.New()
	w.Put(node("n1", "192.0.2.1", "10.244.1.0/24"))
	w.Put(node("n2", "192.0.2.2", "10.244.2.0/24"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go n.Do(func() { done <- New(testConfig, w, slog.New(slog.DiscardHandler)).Run(ctx) })
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if !strings.Contains(show(t, n), "10.244.9.0/24") {
		t.Error("a route was removed before the World was complete")
	}
	w.MarkSynced()
	until := func(what string, ok func(routes string) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			routes := show(t, n)
			if ok(routes) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %s:\n%s", what, routes)
			}
		}
	}
	has := func(s string) func(string) bool { return func(r string) bool { return strings.Contains(r, s) } }
	lacks := func(s string) func(string) bool { return func(r string) bool { return !strings.Contains(r, s) } }
	until("the route to n2", has("10.244.2.0/24 via 192.0.2.2 dev eth0 proto 70"))
	until("the stale route to go", lacks("10.244.9.0/24"))
	if a, err := n.TCP(netip.Addr{}, netip.MustParseAddrPort("10.244.2.2:8080"), time.Second); err != nil || a.Name != "far" {
		t.Errorf("to a pod of n2: %+v, %v", a, err)
	}
	w.Put(node("n3", "203.0.113.3", "10.244.3.0/24")) // out of reach: must not stop the rest
	w.Put(node("n2", "192.0.2.2", "10.244.4.0/24"))
	until("n2's new range", has("10.244.4.0/24 via 192.0.2.2"))
	until("n2's old range to go", lacks("10.244.2.0/24"))
	w.Put(node("n2", "192.0.2.22", "10.244.4.0/24"))
	until("n2's new address", has("10.244.4.0/24 via 192.0.2.22"))
	w.Delete(node("n2", "", ""))
	until("n2's route to go", lacks("10.244.4.0/24"))
	if !has("10.244.8.0/24")(show(t, n)) {
		t.Error("somebody else's route was removed")
	}
}

// TestRangesAddedLater: a range of Services that the node was not started with has a route while its ServiceCIDR is there.
func TestRangesAddedLater(t *testing.T) {
	n, _ := lab(t)
	w := world.New()
	w.MarkSynced()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go n.Do(func() { done <- New(testConfig, w, slog.New(slog.DiscardHandler)).Run(ctx) })
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	until := func(is bool, what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); strings.Contains(show(t, n), what) != is; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %q: %v\n%s", what, is, show(t, n))
			}
		}
	}
	later := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.200.0.0/24", "10.96.0.0/16"}}}
	until(true, "10.96.0.0/12 dev "+LinkName)
	w.Put(later)
	until(true, "10.200.0.0/24 dev "+LinkName)
	until(true, "unreachable 10.200.0.0/24")
	if strings.Contains(show(t, n), "10.96.0.0/16") {
		t.Error("a part of a known range has a route of its own")
	}
	w.Delete(later)
	until(false, "10.200.0.0/24")
	until(true, "10.96.0.0/12 dev "+LinkName)
}

// The link has the first address of the node's pod range as soon as it is known, and the cluster DNS
// address whatever happens.
func TestOwnAddresses(t *testing.T) {
	n, other := lab(t)
	w := world.New()
	w.MarkSynced()
	r := New(testConfig, w, slog.New(slog.DiscardHandler))
	var err error
	if n.Do(func() { err = r.Setup() }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go n.Do(func() { done <- r.Run(ctx) })
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	addresses := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			out, err := n.Command("ip", "-oneline", "-4", "addr", "show", "dev", "fairlead0")
			var have []string
			for line := range strings.Lines(out) {
				have = append(have, strings.Fields(line)[3])
			}
			slices.Sort(have)
			if got := strings.Join(have, " "); got == want {
				return
			} else if err != nil || time.Now().After(deadline) {
				t.Fatalf("fairlead0 has %q, want %q; %v", got, want, err)
			}
		}
	}
	addresses("10.96.0.10/32")
	w.Put(node("n1", "192.0.2.1", "10.244.1.0/24"))
	addresses("10.244.1.1/32 10.96.0.10/32")
	n.Serve(netip.MustParseAddrPort("10.244.1.1:53"), "own")
	other.Route("10.244.1.0/24", "via", "192.0.2.1")
	if a, err := other.UDP(netip.Addr{}, netip.MustParseAddrPort("10.244.1.1:53"), time.Second); err != nil || a.Name != "own" {
		t.Errorf("from another node: %+v, %v", a, err)
	}
	w.Put(node("n1", "192.0.2.1", "10.244.7.0/24"))
	addresses("10.244.7.1/32 10.96.0.10/32")
}

// The engine's addresses are there, and never what the node calls itself.
func TestP113_TheEnginesAddressIsNoSource(t *testing.T) {
	n := netlab.New(t, "n1")
	cfg := testConfig
	cfg.Engine = []netip.Addr{netip.MustParseAddr("169.254.255.70"), netip.MustParseAddr("fd66:6169:726c:6561::70")}
	cfg.NodeIPs, cfg.ServiceCIDRs, cfg.ClusterDNS = nil, nil, nil
	r := New(cfg, world.New(), slog.New(slog.DiscardHandler))
	r.setup(t, n)
	n.Route("203.0.113.0/24", "dev", LinkName)
	there, err := n.Command("ip", "-oneline", "address", "show", "dev", LinkName)
	if err != nil {
		t.Fatal(err, there)
	}
	for _, want := range []string{"169.254.255.70/32 scope host", "fd66:6169:726c:6561::70/128 scope global nodad deprecated"} {
		if !strings.Contains(there, want) {
			t.Errorf("no %q in\n%s", want, there)
		}
	}
	if out, err := n.Command("ip", "route", "get", "203.0.113.1"); err != nil || strings.Contains(out, "169.254") {
		t.Errorf("on a link without another address: %v %s", err, out)
	}
}
