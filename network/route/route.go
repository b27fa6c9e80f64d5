package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/route/plan"
	"fairlead.dev/fairlead/network/world"
)

// LinkName is the link that holds the addresses of the cluster DNS and of the node's L7 engine.
const LinkName = "fairlead0"

// Protocol marks our routes, as "proto 70" in ip route's output.
const Protocol = 'F'

// lastResort is the metric of routes to nowhere: any other route to the same
// range goes before them.
const lastResort = 1 << 30

// Config says which node this is and what the node serves itself.
type Config struct {
	NodeName     string
	NodeIPs      []netip.Addr // the sources of the node's own connections to Services, one of each family
	PodCIDRs     []netip.Prefix
	ServiceCIDRs []netip.Prefix
	PoolCIDRs    []netip.Prefix // addresses of Services that lead to this node alone
	ClusterDNS   []netip.Addr
	Engine       []netip.Addr // where the node's L7 engine takes connections to Services, one of each family
	// Confined nodes have no way out of their network segment. What a Service has an address for reaches it all the same.
	Confined bool
	// Sysctls restores the kernel's settings, where somebody changed them. It may be nil.
	Sysctls func() error
}

// Routes keeps the routes to other nodes' pods. Make one with New.
type Routes struct {
	cfg   Config
	world *world.World
	log   *slog.Logger
}

// New returns Routes for the World. It does nothing until Setup and Run.
func New(cfg Config, w *world.World, log *slog.Logger) *Routes {
	return &Routes{cfg: cfg, world: w, log: log}
}

// Setup makes the link, its addresses and the routes that need no other node in
// the current network namespace. What is there already stays. The node's
// addresses must exist.
func (r *Routes) Setup() error {
	for _, services := range r.cfg.ServiceCIDRs {
		if !slices.ContainsFunc(r.cfg.NodeIPs, func(a netip.Addr) bool { return a.Is4() == services.Addr().Is4() }) {
			return fmt.Errorf("route %s: this node has no address of this family, only %v", services, r.cfg.NodeIPs)
		}
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	defer handle.Close()
	link, err := makeLink(handle)
	if err != nil {
		return fmt.Errorf("link %s: %w", LinkName, err)
	}
	for _, ip := range slices.Concat(r.cfg.ClusterDNS, r.cfg.Engine) {
		if err := handle.AddrReplace(link, r.linkAddr(ip)); err != nil {
			return fmt.Errorf("address %s on %s: %w", ip, LinkName, err)
		}
	}
	return r.apply(handle, link, r.fixed(), false)
}

// fixed are the routes that need no other node.
func (r *Routes) fixed() []plan.Hop {
	return plan.Fixed(r.cfg.NodeIPs, r.cfg.PodCIDRs, slices.Concat(r.cfg.ServiceCIDRs, r.world.FurtherRanges(r.cfg.ServiceCIDRs), r.cfg.PoolCIDRs), r.cfg.Confined)
}

// makeLink returns the link, which is made or brought up if need be.
func makeLink(handle *netlink.Handle) (netlink.Link, error) {
	link, err := handle.LinkByName(LinkName)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = LinkName
		if err := handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, err
		}
		link, err = handle.LinkByName(LinkName)
	}
	switch {
	case err != nil:
		return nil, err
	case link.Type() != "bridge":
		return nil, fmt.Errorf("exists and is a %s, not a bridge; remove it with ip link delete %s", link.Type(), LinkName)
	case link.Attrs().Flags&net.FlagUp != 0:
		return link, nil
	}
	return link, handle.LinkSetUp(link)
}

// Run keeps the link, its addresses and all routes, in the network namespace of
// the calling goroutine's thread, until ctx is done, which is not an error. It
// leaves them behind.
func (r *Routes) Run(ctx context.Context) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	defer handle.Close()
	kernel, err := watchKernel(ctx)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	select { // a node not listed yet must not lose its route
	case <-r.world.Synced():
	case <-ctx.Done():
		return nil
	}
	subscription := r.world.Subscribe(world.Nodes, world.ServiceCIDRs)
	defer subscription.Close()
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	failing := false
	for {
		err := r.keep(handle)
		switch {
		case err != nil && !failing:
			r.log.Error("cannot set routes and their link; retrying", "err", err)
		case err == nil && failing:
			r.log.Info("routes and their link are set again")
		}
		failing = err != nil
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				again = true
			case <-kernel:
				again = true
			case <-subscription.Wake():
				again = !subscription.Take().IsEmpty()
			}
		}
	}
}

// keep makes the link, its addresses, all routes and the kernel's settings what
// they should be. It writes nothing that is so already.
func (r *Routes) keep(handle *netlink.Handle) error {
	var errs []error
	if r.cfg.Sysctls != nil {
		errs = append(errs, r.cfg.Sysctls())
	}
	link, err := makeLink(handle)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("link %s: %w", LinkName, err))...)
	}
	want := append(r.fixed(), plan.ToNodes(r.world.Nodes(), r.cfg.NodeName)...)
	return errors.Join(append(errs, r.hold(handle, link), r.apply(handle, link, want, true))...)
}

// apply makes our routes the ones wanted; the stale ones go if prune is set. It
// does all it can and returns all errors.
func (r *Routes) apply(handle *netlink.Handle, link netlink.Link, want []plan.Hop, prune bool) error {
	there, err := ours(handle, link)
	if err != nil {
		return err
	}
	missing, stale := plan.Diff(there, want)
	var errs []error
	if prune {
		errs = append(errs, remove(handle, stale))
	}
	for _, h := range missing {
		err := handle.RouteAdd(kernelRoute(h, link))
		switch {
		case errors.Is(err, unix.EEXIST) && !h.Via.IsValid() && !h.Source.IsValid(): // somebody else's, to nowhere as well
		case errors.Is(err, unix.EEXIST):
			errs = append(errs, fmt.Errorf("route %s exists and is not ours: remove it or choose another range", h.To))
		case err != nil && h.Source.IsValid():
			errs = append(errs, fmt.Errorf("route %s dev %s src %s: %w; is %s an address of this node?", h.To, LinkName, h.Source, err, h.Source))
		case err != nil:
			errs = append(errs, fmt.Errorf("route %s via %s: %w; nodes have to share a network segment", h.To, h.Via, err))
		}
	}
	return errors.Join(errs...)
}

func remove(handle *netlink.Handle, stale []plan.Hop) error {
	var errs []error
	for _, h := range stale {
		if err := handle.RouteDel(kernelRoute(h, nil)); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %s: %w", h.To, err))
		}
	}
	return errors.Join(errs...)
}

// kernelRoute is the hop for the kernel. To be removed it needs no link.
func kernelRoute(h plan.Hop, link netlink.Link) *netlink.Route {
	route := &netlink.Route{Dst: ipNet(h.To), Protocol: Protocol}
	switch {
	case h.Via.IsValid():
		route.Gw = h.Via.AsSlice()
	case h.Source.IsValid():
		route.Src, route.Scope = h.Source.AsSlice(), netlink.SCOPE_LINK
		if h.To.Addr().Is6() {
			route.Scope = netlink.SCOPE_UNIVERSE // IPv6 has no other
		}
		if link != nil {
			route.LinkIndex = link.Attrs().Index
		}
	default:
		route.Type, route.Priority = unix.RTN_UNREACHABLE, lastResort
	}
	return route
}

// ours returns the routes that carry our protocol number. link is our own, nil: it is gone.
func ours(handle *netlink.Handle, link netlink.Link) ([]plan.Hop, error) {
	routes, err := handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var hops []plan.Hop
	for _, route := range routes {
		to, ok := destination(&route)
		if !ok {
			continue
		}
		h := plan.Hop{To: to}
		if via, ok := netip.AddrFromSlice(route.Gw); ok {
			h.Via = via.Unmap()
			if link != nil && route.LinkIndex == link.Attrs().Index {
				h.Source = netip.IPv4Unspecified() // it leads nowhere: it was set while the link to the neighbour was down
			}
		} else if source, ok := netip.AddrFromSlice(route.Src); ok {
			h.Source = source.Unmap()
		}
		hops = append(hops, h)
	}
	return hops, nil
}

// destination is where a route leads.
func destination(route *netlink.Route) (netip.Prefix, bool) {
	if route.Dst == nil {
		to := netip.IPv4Unspecified()
		if route.Family == netlink.FAMILY_V6 {
			to = netip.IPv6Unspecified()
		}
		return netip.PrefixFrom(to, 0), true
	}
	to, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	return netip.PrefixFrom(to.Unmap(), bits), ok
}

// Clean removes the link and every route of ours from the current network
// namespace. It is not an error if there are none.
func Clean() error {
	var errs []error
	link, err := netlink.LinkByName(LinkName)
	var missing netlink.LinkNotFoundError
	switch {
	case err == nil:
		errs = append(errs, netlink.LinkDel(link))
	case !errors.As(err, &missing):
		errs = append(errs, err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer handle.Close()
	there, err := ours(handle, nil)
	errs = append(errs, err, remove(handle, there))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove routes: %w", err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
