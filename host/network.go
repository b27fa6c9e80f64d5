package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link records a network interface and makes it with create. An interface of
// that name that is not in the journal is refused.
func (j *Journal) Link(name string, create func() error) error {
	if err := j.Record(string(KindLink), name); err != nil {
		return err
	}
	if !j.Has(KindLink, name) {
		return fmt.Errorf("link %s: it exists and is not ours: remove it with 'ip link del %s' or choose another name", name, name)
	}
	return create()
}

// Address puts an address on an interface; one that is there already is left to its owner.
func (j *Journal) Address(link string, prefix netip.Prefix) error {
	if err := j.Record(string(KindAddress), link+" "+prefix.String()); err != nil {
		return err
	}
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("address %s on %s: %w", prefix, link, err)
	}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
		return fmt.Errorf("address %s on %s: %w", prefix, link, err)
	}
	return nil
}

// Route sends a destination out of an interface.
func (j *Journal) Route(link string, dst netip.Prefix) error {
	if err := j.Record(string(KindRoute), link+" "+dst.String()); err != nil {
		return err
	}
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("route %s: %w", dst, err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst), Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s dev %s: %w", dst, link, err)
	}
	return nil
}

// Table records an nf_tables table that the caller is about to make; family is "ip", "ip6" or "inet".
func (j *Journal) Table(family, name string) error {
	return j.Record(string(KindTable), family+" "+name)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func linkExists(name string) (bool, error) {
	_, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

func undoLink(_ context.Context, e entry) (bool, error) {
	if exists, err := linkExists(e.Name); !exists {
		return false, err
	}
	l, err := netlink.LinkByName(e.Name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	return err == nil, ignore(err, unix.ENODEV)
}

// onLink splits a name "LINK PREFIX" and finds the link, nil when there is none.
func onLink(name string) (netlink.Link, netip.Prefix, error) {
	link, text, _ := strings.Cut(name, " ")
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, prefix, err
	}
	if exists, err := linkExists(link); !exists {
		return nil, prefix, err
	}
	l, err := netlink.LinkByName(link)
	return l, prefix, err
}

func addressExists(name string) (bool, error) {
	l, prefix, err := onLink(name)
	if l == nil || err != nil {
		return false, err
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IPNet.String() == prefix.String() }), err
}

func undoAddress(_ context.Context, e entry) (bool, error) {
	l, prefix, err := onLink(e.Name)
	if l == nil || err != nil {
		return false, err
	}
	err = netlink.AddrDel(l, &netlink.Addr{IPNet: ipNet(prefix)})
	return err == nil, ignore(err, unix.EADDRNOTAVAIL, unix.ENODEV)
}

func routeExists(name string) (bool, error) {
	l, prefix, err := onLink(name)
	if l == nil || err != nil {
		return false, err
	}
	routes, err := netlink.RouteList(l, netlink.FAMILY_ALL)
	return slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.String() == prefix.String() }), err
}

func undoRoute(_ context.Context, e entry) (bool, error) {
	l, prefix, err := onLink(e.Name)
	if l == nil || err != nil {
		return false, err
	}
	// scope "nowhere" stands for every scope
	err = netlink.RouteDel(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(prefix), Scope: netlink.SCOPE_NOWHERE})
	return err == nil, ignore(err, unix.ESRCH, unix.ENODEV)
}

// parseRule reads a name such as "inet 100 200": family, priority, table.
func parseRule(name string) (family, priority, table int, err error) {
	var text string
	if _, err := fmt.Sscanf(name, "%s %d %d", &text, &priority, &table); err != nil {
		return 0, 0, 0, fmt.Errorf("rule %q: want FAMILY PRIORITY TABLE: %w", name, err)
	}
	switch text {
	case "inet":
		return unix.AF_INET, priority, table, nil
	case "inet6":
		return unix.AF_INET6, priority, table, nil
	}
	return 0, 0, 0, fmt.Errorf("rule %q: the family must be inet or inet6", name)
}

// findRule returns the routing rule with the priority and table that name gives, nil when there is none.
func findRule(name string) (*netlink.Rule, error) {
	family, priority, table, err := parseRule(name)
	if err != nil {
		return nil, err
	}
	rules, err := netlink.RuleList(family)
	for _, r := range rules {
		if r.Priority == priority && r.Table == table {
			r.Family = family
			return &r, err
		}
	}
	return nil, err
}

func ruleExists(name string) (bool, error) {
	r, err := findRule(name)
	return r != nil, err
}

func undoRule(_ context.Context, e entry) (bool, error) {
	r, err := findRule(e.Name)
	if r == nil || err != nil {
		return false, err
	}
	err = netlink.RuleDel(r)
	return err == nil, ignore(err, unix.ENOENT)
}

// nfFamilies are the protocol families of nf_tables by the names nft gives them.
var nfFamilies = map[string]uint8{"ip": unix.NFPROTO_IPV4, "ip6": unix.NFPROTO_IPV6, "inet": unix.NFPROTO_INET}

func parseTable(name string) (family uint8, table string, err error) {
	text, table, _ := strings.Cut(name, " ")
	family, ok := nfFamilies[text]
	if !ok || table == "" {
		return 0, "", fmt.Errorf("table %s: want FAMILY NAME with the family ip, ip6 or inet", strconv.Quote(name))
	}
	return family, table, nil
}

func tableExists(name string) (bool, error) {
	family, table, err := parseTable(name)
	if err != nil {
		return false, err
	}
	return hasTable(family, table)
}

func undoTable(_ context.Context, e entry) (bool, error) {
	family, table, err := parseTable(e.Name)
	if err != nil {
		return false, err
	}
	err = deleteTable(family, table)
	return err == nil, ignore(err, unix.ENOENT)
}
