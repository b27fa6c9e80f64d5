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

	"fairlead.dev/fairlead/world"
)

// LinkName is the link that holds the cluster DNS address.
const LinkName = "fairlead0"

// Protocol marks our routes, as "proto 70" in ip route's output.
const Protocol = 'F'

// recheck is how often routes are compared with the kernel's even if nothing
// changed: a link that goes down takes its routes along.
const recheck = 10 * time.Second

// Config says which node this is and what the node serves itself.
type Config struct {
	NodeName     string
	NodeIPs      []netip.Addr // the sources of the node's own connections to Services, one of each family
	ServiceCIDRs []netip.Prefix
	ClusterDNS   []netip.Addr
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

// Setup makes the link, its addresses and the routes to the Service ranges in
// the current network namespace. What is there already stays. The node's
// addresses must exist.
func (r *Routes) Setup() error {
	link, err := makeLink()
	if err != nil {
		return fmt.Errorf("link %s: %w", LinkName, err)
	}
	for _, dns := range r.cfg.ClusterDNS {
		if err := netlink.AddrReplace(link, hostAddr(dns)); err != nil {
			return fmt.Errorf("address %s on %s: %w", dns, LinkName, err)
		}
	}
	for _, services := range r.cfg.ServiceCIDRs {
		source, ok := r.nodeIP(services.Addr().Is4())
		if !ok {
			return fmt.Errorf("route %s: this node has no address of this family, only %v", services, r.cfg.NodeIPs)
		}
		route := &netlink.Route{
			LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Protocol: Protocol,
			Dst: ipNet(services), Src: source.AsSlice(),
		}
		if services.Addr().Is6() {
			route.Scope = netlink.SCOPE_UNIVERSE // IPv6 has no other
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s dev %s src %s: %w; is %s an address of this node?", services, LinkName, source, err, source)
		}
	}
	return nil
}

// nodeIP is the node's address of a family.
func (r *Routes) nodeIP(four bool) (netip.Addr, bool) {
	i := slices.IndexFunc(r.cfg.NodeIPs, func(a netip.Addr) bool { return a.Is4() == four })
	if i < 0 {
		return netip.Addr{}, false
	}
	return r.cfg.NodeIPs[i], true
}

func makeLink() (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = LinkName
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	link, err := netlink.LinkByName(LinkName)
	if err != nil {
		return nil, err
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("exists and is a %s, not a bridge; remove it with ip link delete %s", link.Type(), LinkName)
	}
	return link, netlink.LinkSetUp(link)
}

// Run keeps the routes to other nodes' pods, in the network namespace of the
// calling goroutine's thread, until ctx is done, which is not an error. It
// leaves the routes behind.
func (r *Routes) Run(ctx context.Context) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	defer handle.Close()
	select { // a node not listed yet must not lose its route
	case <-r.world.Synced():
	case <-ctx.Done():
		return nil
	}
	subscription := r.world.Subscribe()
	defer subscription.Close()
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	failing := false
	for {
		err := errors.Join(apply(handle, Plan(r.world.Nodes(), r.cfg.NodeName)), r.hold(handle))
		switch {
		case err != nil && !failing:
			r.log.Error("cannot set routes to other nodes' pods; retrying", "err", err)
		case err == nil && failing:
			r.log.Info("routes to other nodes' pods are set again")
		}
		failing = err != nil
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				again = true
			case <-subscription.Wake():
				again = subscription.Take().Nodes
			}
		}
	}
}

// apply makes our routes the ones wanted. It does all it can and returns all
// errors.
func apply(handle *netlink.Handle, want []Hop) error {
	there, err := ours(handle)
	if err != nil {
		return err
	}
	missing, stale := Diff(there, want)
	var errs []error
	for _, h := range stale {
		if err := handle.RouteDel(h.route()); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %s via %s: %w", h.To, h.Via, err))
		}
	}
	for _, h := range missing {
		err := handle.RouteAdd(h.route())
		switch {
		case errors.Is(err, unix.EEXIST):
			errs = append(errs, fmt.Errorf("route %s exists and is not ours: remove it or choose another pod range", h.To))
		case err != nil:
			errs = append(errs, fmt.Errorf("route %s via %s: %w; nodes have to share a network segment", h.To, h.Via, err))
		}
	}
	return errors.Join(errs...)
}

func (h Hop) route() *netlink.Route {
	return &netlink.Route{Dst: ipNet(h.To), Gw: h.Via.AsSlice(), Protocol: Protocol}
}

// ours returns the routes to pods that carry our protocol number.
func ours(handle *netlink.Handle) ([]Hop, error) {
	routes, err := handle.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var hops []Hop
	for _, route := range routes {
		via, ok := netip.AddrFromSlice(route.Gw)
		if !ok || route.Dst == nil { // the route to the Service range
			continue
		}
		to, _ := netip.AddrFromSlice(route.Dst.IP)
		bits, _ := route.Dst.Mask.Size()
		hops = append(hops, Hop{netip.PrefixFrom(to.Unmap(), bits), via.Unmap()})
	}
	return hops, nil
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
	errs = append(errs, apply(handle, nil))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove routes: %w", err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
