package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/policy/table"
)

// cutter brings connections in line with rows that have changed: those that would not come about any more are cut, and those that were
// cut and would again go on.
type cutter struct {
	flows *netfilter.Socket
	links *netlink.Handle // which addresses are the node's own
}

// newCutter returns a cutter for the calling thread's network namespace.
func newCutter() (*cutter, error) {
	flows, err := netfilter.Dial()
	if err != nil {
		return nil, err
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		flows.Close()
		return nil, fmt.Errorf("the node's addresses: %w", err)
	}
	return &cutter{flows, links}, nil
}

func (c *cutter) close() {
	c.flows.Close()
	c.links.Close()
}

// change is a mark that a flow is to be given.
type change struct {
	tuple []byte
	mark  uint32
}

// cut does it, and returns how many connections were cut.
func (c *cutter) cut(rows *policy.Rows) (int, error) {
	judge, total := rows.Judge(), 0
	for _, f := range families() {
		own, err := c.own(f)
		if err != nil {
			return total, err
		}
		var changes []change
		err = c.flows.Flows(f.Protocol, 0, func(flow netfilter.Flow) {
			from, to := flow.Source.Addr(), flow.ReplySource.Addr()
			if own[from] || own[to] { // such packets do not come by the rules
				return
			}
			passes := judge.Passes(policy.Packet{Source: from, Dest: to, Protocol: lb.Protocol(flow.Protocol), Port: flow.ReplySource.Port()})
			switch cut := flow.Mark == table.CutMark; {
			case passes && cut:
				changes = append(changes, change{slices.Clone(flow.Tuple), 0})
			case !passes && !cut:
				changes = append(changes, change{slices.Clone(flow.Tuple), table.CutMark})
			}
		})
		if err != nil {
			return total, err
		}
		for _, ch := range changes {
			if err := c.flows.MarkFlow(f.Protocol, ch.tuple, ch.mark); err != nil && !errors.Is(err, unix.ENOENT) {
				return total, err
			}
			if ch.mark == table.CutMark {
				total++
			}
		}
	}
	return total, nil
}

// own are the node's own addresses.
func (c *cutter) own(f *rule.Family) (map[netip.Addr]bool, error) {
	family := netlink.FAMILY_V4
	if f.V6 {
		family = netlink.FAMILY_V6
	}
	addrs, err := c.links.AddrList(nil, family)
	if err != nil {
		return nil, err
	}
	own := map[netip.Addr]bool{}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			own[ip.Unmap()] = true
		}
	}
	return own, nil
}
