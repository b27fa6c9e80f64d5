package route

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/netns"
	"fairlead.dev/fairlead/world"
)

var config = Config{
	NodeName: "a", NodeIP: netip.MustParseAddr("192.0.2.10"),
	ServiceCIDR: netip.MustParsePrefix("10.96.0.0/12"), ClusterDNS: netip.MustParseAddr("10.96.0.10"),
}

func node(name, addr, pods string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: pods}}
	if addr != "" {
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: addr}}
	}
	return n
}

func TestDerive(t *testing.T) {
	got := Derive([]*corev1.Node{
		node("a", "192.0.2.10", "10.244.0.0/24"), // this node
		node("b", "192.0.2.11", "10.244.1.0/24"),
		node("new", "192.0.2.12", ""), // has no pod network yet
		node("mute", "", "10.244.3.0/24"),
	}, "a")
	want := netip.MustParsePrefix("10.244.1.0/24")
	if len(got) != 1 || got[want] != netip.MustParseAddr("192.0.2.11") {
		t.Errorf("got %v", got)
	}
}

// inside runs the test in a network namespace with one link, eth0, that holds the node's address.
func inside(t *testing.T, test func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ns")
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.Remove(path) })
	err := netns.Do(path, func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer"}); err != nil {
			return err
		}
		for _, name := range []string{"lo", "eth0", "peer"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if name == "eth0" {
				if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.10/24"))}); err != nil {
					return err
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		test()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSetupGivesTheDNSAddressAndAWayToServices(t *testing.T) {
	inside(t, func() {
		r := New(config, world.New(), slog.New(slog.DiscardHandler))
		for range 2 { // the second time changes nothing
			if err := r.Setup(); err != nil {
				t.Error(err)
				return
			}
		}
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.96.0.10:53")))
		if err != nil {
			t.Errorf("the DNS address cannot be bound: %v", err)
			return
		}
		defer conn.Close()
		routes, err := netlink.RouteGet(net.ParseIP("10.96.5.5"))
		if err != nil || !routes[0].Src.Equal(net.ParseIP("192.0.2.10")) {
			t.Errorf("way to a Service: %v, %v", routes, err)
		}
		if err := Clean(); err != nil {
			t.Error(err)
		}
		if _, err := netlink.LinkByName(Link); err == nil {
			t.Error("the link stayed")
		}
		if err := Clean(); err != nil {
			t.Errorf("a second clean: %v", err)
		}
	})
}

func TestRoutesFollowTheNodes(t *testing.T) {
	inside(t, func() {
		r := New(config, world.New(), slog.New(slog.DiscardHandler))
		if err := r.Setup(); err != nil {
			t.Error(err)
			return
		}
		foreign := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.200.0.0/24")), Gw: net.ParseIP("192.0.2.77")}
		if err := netlink.RouteAdd(foreign); err != nil {
			t.Error(err)
			return
		}
		for _, step := range [][]*corev1.Node{
			{node("b", "192.0.2.11", "10.244.1.0/24"), node("c", "192.0.2.12", "10.244.2.0/24")},
			{node("b", "192.0.2.21", "10.244.1.0/24")}, // b moved, c went
			{},
		} {
			want := Derive(step, "a")
			if err := r.apply(want); err != nil {
				t.Error(err)
			}
			routes, err := ours()
			if err != nil {
				t.Error(err)
			}
			got := map[netip.Prefix]netip.Addr{}
			for _, route := range routes {
				if dst, gw, ok := way(route); ok {
					got[dst] = gw
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			for dst, gw := range want {
				if got[dst] != gw {
					t.Errorf("%s: got %v, want %v", dst, got[dst], gw)
				}
			}
		}
		if found, err := netlink.RouteGet(net.ParseIP("10.200.0.1")); err != nil || found[0].Gw == nil {
			t.Errorf("a foreign route was removed: %v, %v", found, err)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	inside(t, func() {
		w := world.New()
		w.MarkSynced()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := New(config, w, slog.New(slog.DiscardHandler)).Run(ctx); err == nil {
			t.Error("no error")
		}
	})
}
