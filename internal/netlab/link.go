package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Connect joins two namespaces by a pair of veths that carry the addresses
// given, and returns the names of the links in a and in b.
func Connect(a *Netns, inA netip.Prefix, b *Netns, inB netip.Prefix) (linkA, linkB string) {
	a.t.Helper()
	return connect(a, []netip.Prefix{inA}, b, []netip.Prefix{inB})
}

func connect(a *Netns, inA []netip.Prefix, b *Netns, inB []netip.Prefix) (linkA, linkB string) {
	a.t.Helper()
	linkA, linkB = fmt.Sprintf("eth%d", a.made), fmt.Sprintf("eth%d", b.made)
	a.made++
	b.made++
	a.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = linkA
		a.check("add veth", netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: linkB, PeerNamespace: netlink.NsFd(b.file.Fd())}))
	})
	a.address(linkA, inA...)
	b.address(linkB, inB...)
	a.awaitUp(linkA)
	b.awaitUp(linkB)
	return linkA, linkB
}

// awaitUp waits until the kernel has given the link its queue: until then it
// drops what is sent, and the first ARP request would be repeated only after a
// second.
func (n *Netns) awaitUp(link string) {
	n.t.Helper()
	n.Do(func() {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			l, err := netlink.LinkByName(link)
			if err == nil && l.Attrs().OperState == netlink.OperUp {
				return
			}
			if time.Now().After(deadline) {
				n.t.Errorf("%s: link %s does not come up: %v", n.name, link, err)
				return
			}
		}
	})
}

func (n *Netns) address(link string, all ...netip.Prefix) {
	n.t.Helper()
	n.Do(func() {
		l, err := netlink.LinkByName(link)
		if err != nil {
			n.check("link "+link, err)
			return
		}
		n.check("link up", netlink.LinkSetUp(l))
		for _, p := range all {
			a := &netlink.Addr{IPNet: ipNet(p)}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD // usable at once
			}
			n.check("add address "+p.String(), netlink.AddrAdd(l, a))
		}
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Address adds addresses to the namespace's loopback.
func (n *Netns) Address(all ...netip.Prefix) { n.t.Helper(); n.address("lo", all...) }

// Route adds a route; arguments are those of ip route add.
func (n *Netns) Route(args ...string) {
	n.t.Helper()
	out, err := n.Command("ip", append([]string{"route", "add"}, args...)...)
	if err != nil {
		n.t.Errorf("%v: %s", err, out)
	}
}

// Via makes packets to the given addresses go by way of a neighbour, in the
// place of any other way they went before.
func (n *Netns) Via(neighbour netip.Addr, to ...netip.Prefix) {
	n.t.Helper()
	n.Do(func() {
		for _, p := range to {
			n.check("route to "+p.String(), netlink.RouteReplace(&netlink.Route{Dst: ipNet(p), Gw: neighbour.AsSlice()}))
		}
	})
}

// onLink makes the addresses neighbours on the link.
func (n *Netns) onLink(link string, to ...netip.Addr) {
	n.t.Helper()
	n.Do(func() {
		l, err := netlink.LinkByName(link)
		if err != nil {
			n.check("link "+link, err)
			return
		}
		for _, a := range to {
			r := &netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}
			n.check("route to "+a.String(), netlink.RouteReplace(r))
		}
	})
}

// Pod returns a namespace connected to a node the way the ptp CNI plugin does
// it: a pair of veths of its own and a host route, no bridge.
func Pod(node *Netns, name string, addr, gateway netip.Addr) *Netns {
	node.t.Helper()
	return Leaf(node, name, []netip.Addr{addr}, []netip.Addr{gateway})
}

// Leaf returns a namespace whose only way out is its parent: a pod of a node, or
// a host behind a router. It has the addresses given, and for each the parent
// has a gateway address of the same family on the link to it.
func Leaf(parent *Netns, name string, addrs, gateways []netip.Addr) *Netns {
	parent.t.Helper()
	leaf := New(parent.t, name)
	inParent, inLeaf := connect(parent, single(gateways), leaf, single(addrs))
	parent.onLink(inParent, addrs...)
	leaf.onLink(inLeaf, gateways...)
	for _, g := range gateways {
		everything := netip.IPv4Unspecified()
		if g.Is6() {
			everything = netip.IPv6Unspecified()
		}
		leaf.Via(g, netip.PrefixFrom(everything, 0))
	}
	return leaf
}

// single returns the prefixes that hold one address each.
func single(addrs []netip.Addr) []netip.Prefix {
	all := make([]netip.Prefix, len(addrs))
	for i, a := range addrs {
		all[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return all
}
