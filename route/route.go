// Package route gives a node its ways: a link that holds the address of the cluster DNS, a route that makes Service
// addresses reachable for programs on the node itself, and a plain route to the pods of every other node.
//
// The link, fairlead0, is a bridge without ports: it carries nothing and exists to hold an address, as a dummy device
// would on kernels that have one. Service addresses never appear on it; a packet to one is rewritten before it would
// leave, but the kernel must know some way for it first, or a local program's connect fails before the rules are asked.
//
// Routes to other nodes carry a protocol number of ours, so that those of nodes that went can be told from anybody else's.
package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/world"
)

const (
	// Link is the name of the node's own link.
	Link = "fairlead0"
	// protocol marks our routes (RTPROT_*); 70 is 'F' and assigned to nobody.
	protocol = netlink.RouteProtocol(70)
	// retryAfter is how long to wait before a failed change is tried again.
	retryAfter = time.Second
)

// Config is what a node's routes depend on.
type Config struct {
	NodeName    string
	NodeIP      netip.Addr
	ServiceCIDR netip.Prefix
	ClusterDNS  netip.Addr
}

// Routes keeps one node's routes. It acts on the network namespace it is used in.
type Routes struct {
	cfg   Config
	world *world.World
	log   *slog.Logger
}

// New returns the routes of a node; it changes nothing yet.
func New(cfg Config, w *world.World, log *slog.Logger) *Routes {
	return &Routes{cfg: cfg, world: w, log: log}
}

// Setup makes the link, its address and the route to Services. The DNS server can bind to its address afterwards.
func (r *Routes) Setup() error {
	link, err := ensureLink()
	if err != nil {
		return fmt.Errorf("link %s: %w", Link, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(r.cfg.ClusterDNS, r.cfg.ClusterDNS.BitLen()))}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("link %s: address %s: %w", Link, r.cfg.ClusterDNS, err)
	}
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(r.cfg.ServiceCIDR), Src: r.cfg.NodeIP.AsSlice(),
		Scope: netlink.SCOPE_LINK, Protocol: protocol,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route to Services %s: %w", r.cfg.ServiceCIDR, err)
	}
	return nil
}

func ensureLink() (netlink.Link, error) {
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: Link}})
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	link, err := netlink.LinkByName(Link)
	if err != nil {
		return nil, err
	}
	return link, netlink.LinkSetUp(link)
}

// Run keeps the routes to other nodes' pods as the Nodes say, until ctx ends. They stay when it does.
func (r *Routes) Run(ctx context.Context) error {
	select {
	case <-r.world.Synced():
	case <-ctx.Done():
		return ctx.Err()
	}
	changes := r.world.Subscribe()
	defer changes.Close()
	for {
		var again <-chan time.Time
		if err := r.apply(Derive(r.world.Nodes(), r.cfg.NodeName)); err != nil {
			r.log.Error("routes to other nodes", "err", err)
			again = time.After(retryAfter)
		}
		if err := awaitNodes(ctx, changes, again); err != nil {
			return err
		}
	}
}

// awaitNodes returns when the Nodes changed or it is time to try again.
func awaitNodes(ctx context.Context, changes *world.Subscription, again <-chan time.Time) error {
	for {
		select {
		case <-changes.Wake():
			if changes.Take().Nodes {
				return nil
			}
		case <-again:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Derive is the way to every other node's pods: the pods' network, and the node's address behind which it lies.
func Derive(nodes []*corev1.Node, self string) map[netip.Prefix]netip.Addr {
	ways := map[netip.Prefix]netip.Addr{}
	for _, n := range nodes {
		addr, ok := internalIP(n)
		pods, err := netip.ParsePrefix(n.Spec.PodCIDR)
		if n.Name != self && ok && err == nil {
			ways[pods.Masked()] = addr
		}
	}
	return ways
}

func internalIP(n *corev1.Node) (netip.Addr, bool) {
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err == nil && addr.Is4() {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// apply makes the kernel hold exactly the wanted ways: missing and changed ones are set, ours that nobody wants removed.
func (r *Routes) apply(want map[netip.Prefix]netip.Addr) error {
	have, err := ours()
	if err != nil {
		return err
	}
	missing := maps.Clone(want)
	var errs []error
	for _, route := range have {
		dst, gw, ok := way(route)
		switch {
		case !ok: // the route to Services
		case want[dst] == gw:
			delete(missing, dst)
		case !want[dst].IsValid():
			errs = append(errs, netlink.RouteDel(&route))
		}
	}
	for dst, gw := range missing {
		err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: gw.AsSlice(), Protocol: protocol})
		if err != nil {
			err = fmt.Errorf("route to pods %s by way of node %s: %w", dst, gw, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ours are the routes that carry our protocol number.
func ours() ([]netlink.Route, error) {
	return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
}

// way is where a route to a node's pods leads; false for a route without a gateway.
func way(r netlink.Route) (dst netip.Prefix, gw netip.Addr, ok bool) {
	if r.Dst == nil || r.Gw == nil {
		return dst, gw, false
	}
	addr, ok1 := netip.AddrFromSlice(r.Dst.IP.To4())
	gw, ok2 := netip.AddrFromSlice(r.Gw.To4())
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(addr, bits), gw, ok1 && ok2
}

// Clean removes every route and the link of ours from the current network namespace. Nothing there is no error.
func Clean() error {
	routes, err := ours()
	errs := []error{err}
	for _, route := range routes {
		if err := netlink.RouteDel(&route); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, err)
		}
	}
	link, err := netlink.LinkByName(Link)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none):
	case err != nil:
		errs = append(errs, err)
	default:
		errs = append(errs, netlink.LinkDel(link))
	}
	return errors.Join(errs...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
