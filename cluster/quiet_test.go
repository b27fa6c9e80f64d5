package cluster

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
)

// P113: the neighbours of a node are told where its own address is, and nothing of its L7 engine's.
func TestP113_NoARPForTheEnginesAddress(t *testing.T) {
	n, neighbour := netlab.New(t, "n1"), netlab.New(t, "neighbour")
	own := netip.MustParseAddr("192.0.2.1")
	netlab.Connect(n, netip.PrefixFrom(own, 24), neighbour, netip.MustParsePrefix("192.0.2.2/24"))
	if out, err := n.Command("ip", "address", "add", "169.254.255.70/32", "dev", "lo", "scope", "host"); err != nil {
		t.Fatal(err, out)
	}
	neighbour.Route("169.254.255.70", "dev", "eth0")
	answered := func(ip netip.Addr) bool {
		_, _ = neighbour.Command("ip", "neighbour", "flush", "all")
		_, _ = neighbour.UDP(netip.Addr{}, netip.AddrPortFrom(ip, 9), time.Second) // whether anybody answers is not the question
		out, err := neighbour.Command("ip", "neighbour", "show", ip.String())
		if err != nil {
			t.Fatal(err, out)
		}
		return strings.Contains(out, "lladdr")
	}
	if !answered(lb.EngineIPv4.Addr()) {
		t.Fatal("the kernel does not answer for it in any case")
	}
	var err error
	n.Do(func() {
		err = setSysctls([]netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, []netip.Addr{own}, writeSysctl)
	})
	if err != nil {
		t.Fatal(err)
	}
	if answered(lb.EngineIPv4.Addr()) {
		t.Error("the kernel answers for the engine's address")
	}
	if !answered(own) {
		t.Error("the kernel does not answer for the node's own address any more")
	}
}
