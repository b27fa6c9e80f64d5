package route

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/world"
)

// wide is a node of both families whose default route leads to a stranger that has addresses of the cluster's ranges.
func wide(t *testing.T) (cfg Config, n, stranger *netlab.Netns) {
	t.Helper()
	n, stranger = lab(t)
	for i, space := range []*netlab.Netns{n, stranger} {
		if out, err := space.Command("ip", "address", "add", []string{"2001:db8::1/64", "2001:db8::2/64"}[i], "dev", "eth0", "nodad"); err != nil {
			t.Fatal(err, out)
		}
	}
	n.Sysctl("net/ipv6/conf/all/forwarding", "1")
	n.Via(netip.MustParseAddr("192.0.2.2"), netip.MustParsePrefix("0.0.0.0/0"))
	n.Via(netip.MustParseAddr("2001:db8::2"), netip.MustParsePrefix("::/0"))
	for _, to := range []string{"10.244.9.9", "10.96.9.9", "10.243.9.9", "fd00:244:0:9::9", "fd00:96::99", "fd00:243::9"} {
		addr := netip.MustParseAddr(to)
		stranger.Address(netip.PrefixFrom(addr, addr.BitLen()))
		stranger.Serve(netip.AddrPortFrom(addr, 8080), "stranger")
	}
	p := netip.MustParsePrefix
	return Config{
		NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		PodCIDRs:     []netip.Prefix{p("10.244.0.0/16"), p("fd00:244::/56")},
		ServiceCIDRs: []netip.Prefix{p("10.96.0.0/16"), p("fd00:96::/112")},
		ClusterDNS:   []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:96::a")},
	}, n, stranger
}

func (r *Routes) setup(t *testing.T, n *netlab.Netns) {
	t.Helper()
	var err error
	if n.Do(func() { err = r.Setup() }); err != nil {
		t.Fatal(err)
	}
}

// Packets to addresses of the cluster that nobody has do not leave the node, whoever sends them, even without the link; other
// routes that the host has go first.
func TestAddressesOfNobodyStayHere(t *testing.T) {
	cfg, n, _ := wide(t)
	pod := netlab.Leaf(n, "pod", []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00:244:0:1::2")},
		[]netip.Addr{netip.MustParseAddr("10.244.1.1"), netip.MustParseAddr("fd00:244:0:1::1")})
	dial := func(from *netlab.Netns, to string) (string, error) {
		a, err := from.TCP(netip.Addr{}, netip.MustParseAddrPort(to), 2*time.Second)
		return a.Name, err
	}
	if name, err := dial(n, "10.244.9.9:8080"); name != "stranger" {
		t.Fatalf("without routes of ours: %v", err)
	}
	New(cfg, world.New(), slog.New(slog.DiscardHandler)).setup(t, n)
	for _, from := range []*netlab.Netns{n, pod} {
		for _, to := range []string{"10.244.9.9:8080", "[fd00:244:0:9::9]:8080"} {
			if name, err := dial(from, to); !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENETUNREACH) {
				t.Errorf("%s: %q answered, %v; want that there is no route", to, name, err)
			}
		}
		for _, to := range []string{"10.96.9.9:8080", "[fd00:96::99]:8080"} {
			if a, err := from.TCP(netip.Addr{}, netip.MustParseAddrPort(to), time.Second/2); err == nil {
				t.Errorf("%s: %q answered", to, a.Name)
			}
		}
	}
	for _, to := range []string{"10.243.9.9:8080", "[fd00:243::9]:8080"} {
		if name, err := dial(n, to); name != "stranger" {
			t.Errorf("%s, which is not the cluster's: %v", to, err)
		}
	}
	n.Route("10.244.0.0/16", "via", "192.0.2.2", "metric", "5")
	if name, err := dial(n, "10.244.9.9:8080"); name != "stranger" {
		t.Errorf("a route of the host's own to the range: %v", err)
	}
	if out, err := n.Command("ip", "link", "delete", LinkName); err != nil {
		t.Fatal(err, out)
	}
	if name, err := dial(n, "[fd00:96::99]:8080"); err == nil {
		t.Errorf("without the link %q answered for a Service", name)
	}
}

// A confined node has no way out, and its own connections to an address that a Service may have still get as far as the rules.
func TestConfined(t *testing.T) {
	cfg, n, _ := wide(t)
	cfg.Confined = true
	for _, family := range []string{"-4", "-6"} {
		if out, err := n.Command("ip", family, "route", "del", "default"); err != nil {
			t.Fatal(err, out)
		}
	}
	r := New(cfg, world.New(), slog.New(slog.DiscardHandler))
	r.setup(t, n)
	r.setup(t, n)
	for to, src := range map[string]string{"198.51.100.1": "192.0.2.1", "2001:db8:99::1": "2001:db8::1"} {
		if out, err := n.Command("ip", "route", "get", to); err != nil || !strings.Contains(out, "dev "+LinkName) || !strings.Contains(out, "src "+src) {
			t.Errorf("%s: %v %s", to, err, out)
		}
	}
	var err error
	if n.Do(func() { err = Clean() }); err != nil {
		t.Fatal(err)
	}
	if routes := show(t, n); strings.Contains(routes, "proto 70") || strings.Contains(routes, "unreachable") {
		t.Errorf("left behind:\n%s", routes)
	}
}

// Whatever others take away comes back.
func TestWhatIsTakenAwayComesBack(t *testing.T) {
	cfg, n, _ := wide(t)
	cfg.Engine = []netip.Addr{netip.MustParseAddr("169.254.255.70"), netip.MustParseAddr("fd66:6169:726c:6561::70")}
	cfg.Sysctls = func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) }
	w := world.New()
	w.Put(dual("n1", 1))
	w.Put(dual("n2", 2))
	w.MarkSynced()
	r := New(cfg, w, slog.New(slog.DiscardHandler))
	r.setup(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go n.Do(func() { done <- r.Run(ctx) })
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	state := func() string {
		t.Helper()
		var all string
		for _, line := range []string{"-4 route show proto 70", "-6 route show proto 70", "-4 -brief address show dev " + LinkName, "-6 -brief address show dev " + LinkName + " scope global"} {
			out, _ := n.Command("ip", strings.Fields(line)...) // without the link there is nothing to show
			words := strings.Fields(out)
			if strings.Contains(line, "address") {
				slices.Sort(words) // what was put back is the last
			}
			all += strings.Join(words, " ") + "\n"
		}
		forward, err := n.Command("cat", "/proc/sys/net/ipv4/ip_forward")
		if err != nil {
			t.Fatal(err)
		}
		return all + forward
	}
	until := func(what string, ok func(string) bool) string {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if now := state(); ok(now) {
				return now
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: there is\n%s", what, state())
			}
		}
	}
	whole := until("at first", func(s string) bool {
		return strings.Contains(s, "10.244.2.0/24 via 192.0.2.2") && strings.Contains(s, "fd00:244:0:2::/64 via 2001:db8::2") && strings.Contains(s, "10.244.1.1/32") && strings.Contains(s, "fd00:244:0:1::1/128")
	})
	for _, line := range []string{
		"ip link delete fairlead0", "ip link set fairlead0 down", "ip address delete 169.254.255.70/32 dev fairlead0", "ip address delete 10.96.0.10/32 dev fairlead0",
		"ip -6 address flush dev fairlead0 scope global", "ip -4 route flush proto 70", "ip -6 route flush proto 70",
		"ip route delete unreachable 10.244.0.0/16 metric 1073741824", "sysctl -qw net.ipv4.ip_forward=0",
	} {
		words := strings.Fields(line)
		if out, err := n.Command(words[0], words[1:]...); err != nil {
			t.Fatal(line, err, out)
		}
		until(line, func(s string) bool { return s == whole })
	}
}

// The routes of a confined node lead to its neighbours again after its link to them was down: meanwhile the kernel takes such a route
// for one by the default route, which leads nowhere.
func TestLinkThatWasDown(t *testing.T) {
	n, _ := lab(t)
	cfg := testConfig
	cfg.Confined = true
	w := world.New()
	w.Put(node("n2", "192.0.2.2", "10.244.2.0/24"))
	r := New(cfg, w, slog.New(slog.DiscardHandler))
	r.setup(t, n)
	handle := func() (out string) {
		t.Helper()
		n.Do(func() {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err == nil {
				r.keep(h) // it fails while the link is down
				h.Close()
			}
		})
		out, _ = n.Command("ip", "route", "show", "10.244.2.0/24")
		return out
	}
	for _, line := range []string{"link set eth0 down", "link set eth0 up"} {
		handle()
		if out, err := n.Command("ip", strings.Fields(line)...); err != nil {
			t.Fatal(err, out)
		}
		if out := handle(); line == "link set eth0 up" && !strings.Contains(out, "dev eth0") {
			t.Errorf("after %q: %s", line, out)
		}
	}
}
