package route

import (
	"errors"
	"fmt"
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

// hold gives the link the cluster DNS addresses and the node's own, by which other nodes reach its DNS server, and takes others
// away: the node's pod ranges, of which its own addresses are, come after the link, and can change.
func (r *Routes) hold(handle *netlink.Handle, link netlink.Link) error {
	want := slices.Clone(r.cfg.ClusterDNS)
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
		if ip = ip.Unmap(); ip.IsLinkLocalUnicast() {
			continue
		}
		if i := slices.Index(want, ip); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else if err := handle.AddrDel(link, &a); err != nil {
			errs = append(errs, fmt.Errorf("remove address %s from %s: %w", ip, LinkName, err))
		}
	}
	for _, ip := range want {
		if err := handle.AddrReplace(link, hostAddr(ip)); err != nil {
			errs = append(errs, fmt.Errorf("address %s on %s: %w", ip, LinkName, err))
		}
	}
	return errors.Join(errs...)
}
