package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/cluster/config"
)

// MovedError says that this host has other addresses than its node was started with.
type MovedError struct{ from, to []netip.Addr }

func (m *MovedError) Error() string {
	return fmt.Sprintf("the address of this host was %s and is %s now", joinAddrs(m.from), joinAddrs(m.to))
}

// settleDown is how long addresses must stay as they are before they count: a lease that is renewed, or a tunnel that comes up,
// changes several things one after the other.
const settleDown = time.Second

// watchAddrs ends with a MovedError when this host has lost an address of its node and has others in its place: certificates,
// endpoints, rules and listeners are all made for the addresses of a start. As long as the host has none, all that does not need
// one goes on.
func watchAddrs(ctx context.Context, g *errgroup.Group, s config.Settings, now []netip.Addr, log *slog.Logger) error {
	log = log.With("part", "addresses")
	find := func() ([]netip.Addr, error) { return nodeAddrs(hostAddrs(s.NodeIPs), s.Services[:len(now)]) }
	addrs, routes := make(chan netlink.AddrUpdate, 16), make(chan netlink.RouteUpdate, 16)
	if err := netlink.AddrSubscribe(addrs, ctx.Done()); err != nil {
		return fmt.Errorf("addresses of this host: %w", err)
	}
	if err := netlink.RouteSubscribe(routes, ctx.Done()); err != nil {
		return fmt.Errorf("routes of this host: %w", err)
	}
	look := make(chan struct{}, 1)
	later := time.AfterFunc(time.Hour, func() { look <- struct{}{} })
	later.Stop()
	g.Go(named("addresses", ctx, func(ctx context.Context) error {
		defer later.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case _, open := <-addrs:
				if !open {
					return errors.New("the kernel tells no more about addresses")
				}
				later.Reset(settleDown)
			case _, open := <-routes:
				if !open {
					return errors.New("the kernel tells no more about routes")
				}
				later.Reset(settleDown)
			case <-look:
				if err := moved(now, find, log); err != nil {
					return err
				}
			}
		}
	}))
	return nil
}

// moved compares the node's addresses with those that the host has.
func moved(now []netip.Addr, find func() ([]netip.Addr, error), log *slog.Logger) error {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of this host: %w", err)
	}
	has := func(a netip.Addr) bool {
		return slices.ContainsFunc(list, func(l netlink.Addr) bool { return l.IP.Equal(a.AsSlice()) })
	}
	if !slices.ContainsFunc(now, func(a netip.Addr) bool { return !has(a) }) {
		return nil
	}
	to, err := find()
	if err != nil || slices.Equal(to, now) {
		log.Warn("this host has lost the address of its node; what needs none goes on", "address", joinAddrs(now), "err", err)
		return nil
	}
	return &MovedError{now, to}
}
