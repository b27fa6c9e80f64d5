package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Ranges are what the subnets of all labs are cut from.
const Ranges = "10.88.0.0/16,fd00:10:88::/48"

// most is the number of labs that fit on one host.
const most = 256

// FreeNumber finds a number, 0 to 255, whose subnets no route of the host overlaps.
func FreeNumber() (int, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("lab: list routes: %w", err)
	}
	for n := range most {
		if free(n, routes) {
			return n, nil
		}
	}
	return 0, errors.New("lab: every /24 of 10.88.0.0/16 is routed on this host; take down a lab with 'fairlead down --name NAME'")
}

// Free reports whether no route of the host overlaps the subnets of the lab with a number.
func Free(number int) (bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return false, fmt.Errorf("lab: list routes: %w", err)
	}
	return free(number, routes), nil
}

func free(number int, routes []netlink.Route) bool {
	return !overlaps(subnet(number, true), routes) && !overlaps(subnet(number, false), routes)
}

// Subnets are the subnets of the lab with a number, one of the family of each range and in the ranges' order:
// 10.88.N.0/24 and fd00:10:88:N::/64.
func Subnets(number int, ranges []netip.Prefix) []netip.Prefix {
	all := make([]netip.Prefix, len(ranges))
	for i, r := range ranges {
		all[i] = subnet(number, r.Addr().Is4())
	}
	return all
}

// Pool are the addresses of the lab's subnets that nobody has: for Services of type LoadBalancer.
func (l Lab) Pool() []string {
	var all []string
	for _, s := range l.Subnets {
		all = append(all, fmt.Sprintf("%s-%s", member(s, poolFirst), member(s, poolLast)))
	}
	return all
}

// The numbers of those addresses. Nodes have lower ones.
const poolFirst, poolLast = 200, 250

func subnet(number int, four bool) netip.Prefix {
	if four {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 88, byte(number), 0}), 24)
	}
	addr := netip.MustParseAddr("fd00:10:88::").As16()
	binary.BigEndian.PutUint16(addr[6:], digits(number))
	return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
}

// member is the address .N or ::N of a subnet.
func member(subnet netip.Prefix, n int) netip.Addr {
	bytes := subnet.Addr().AsSlice()
	if last := len(bytes) - 2; subnet.Addr().Is6() {
		binary.BigEndian.PutUint16(bytes[last:], digits(n))
	} else {
		bytes[last+1] = byte(n)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// digits is the number whose hexadecimal form reads as the decimal one of n, so that the addresses of both families
// read alike.
func digits(n int) uint16 {
	v, _ := strconv.ParseUint(strconv.Itoa(n), 16, 16) // n has at most three digits
	return uint16(v)
}

func overlaps(p netip.Prefix, routes []netlink.Route) bool {
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		if bits, _ := r.Dst.Mask.Size(); ok && bits > 0 && netip.PrefixFrom(addr, bits).Overlaps(p) {
			return true
		}
	}
	return false
}

// six tells whether the lab has IPv6 addresses.
func (l Lab) six() bool {
	return slices.ContainsFunc(l.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// settle makes IPv6 addresses of the current namespace usable at once and keeps them what the lab says: its addresses
// are unique by construction, and nothing in it advertises routes.
func settle() error {
	for _, key := range []string{"default/accept_dad", "default/accept_ra"} {
		if err := sysctl("net/ipv6/conf/"+key, "0"); err != nil {
			return err
		}
	}
	return nil
}

// sysctl sets a kernel setting of the current namespace.
func sysctl(key, value string) error {
	err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sysctl %s: %w; does this kernel have IPv6?", key, err)
	}
	return err
}

// address is an address of a subnet that is used without asking whether anybody else has it.
func address(a netip.Addr, subnet netip.Prefix) *netlink.Addr {
	out := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(subnet.Bits(), a.BitLen())}}
	if a.Is6() {
		out.Flags = unix.IFA_F_NODAD
	}
	return out
}
