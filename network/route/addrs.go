package route

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api"
)

// hostAddr is an address of the link. Nobody else is on the link: an IPv6 address need not be asked for,
// and without a carrier never could be.
func hostAddr(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ip, ip.BitLen())), Flags: unix.IFA_F_NODAD}
}

// linkAddr is an address of the link. The engine's must not become the source of anything the node begins, as any other address
// may where a link has none of its own: an IPv4 address of scope host, or a deprecated IPv6 one, is never chosen.
func (r *Routes) linkAddr(ip netip.Addr) *netlink.Addr {
	a := hostAddr(ip)
	switch {
	case !slices.Contains(r.cfg.Engine, ip):
	case ip.Is4():
		a.Scope = int(netlink.SCOPE_HOST)
	default:
		a.ValidLft, a.PreferedLft = math.MaxUint32, 0
	}
	return a
}

// hold gives the link the addresses of the cluster DNS and of the engine, and the node's own, by which other nodes reach its DNS server, and takes others
// away: the node's pod ranges, of which its own addresses are, come after the link, and can change.
func (r *Routes) hold(handle *netlink.Handle, link netlink.Link) error {
	want := slices.Concat(r.cfg.ClusterDNS, r.cfg.Engine)
	if n := r.world.Node(r.cfg.NodeName); n != nil {
		want = append(want, api.NameServers(n)...)
	}
	there, err := handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", LinkName, err)
	}
	var errs []error
	for _, a := range there {
		ip, _ := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		if i := slices.Index(want, ip); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else if ip.IsLinkLocalUnicast() {
			continue
		} else if err := handle.AddrDel(link, &a); err != nil {
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", ip, LinkName, err))
		}
	}
	for _, ip := range want {
		if err := handle.AddrReplace(link, r.linkAddr(ip)); err != nil {
			errs = append(errs, fmt.Errorf("address %s on %s: %w", ip, LinkName, err))
		}
	}
	return errors.Join(errs...)
}
