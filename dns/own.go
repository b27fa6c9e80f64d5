package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/world"
)

// Besides the cluster DNS address, which every node has, a node's server answers on an address of the
// node's own, for the pods of nodes whose server is not there. It is the first of the node's pod range
// (package route holds it), so it comes after the server, and can change.

// ownAddrs are the own addresses of a node, one of each family.
func ownAddrs(w *world.World, node string) []netip.Addr {
	n := w.Node(node)
	if n == nil {
		return nil
	}
	texts := n.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{n.Spec.PodCIDR}
	}
	var addrs []netip.Addr
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			addrs = append(addrs, p.Masked().Addr().Next())
		}
	}
	return addrs
}

// serveOwn answers on the addresses that last came from moved, until ctx is done. An address that cannot be
// had is logged: the node's own pods do not need it.
func (s *Server) serveOwn(ctx, asking context.Context, moved <-chan []netip.Addr) error {
	for now := []netip.Addr(nil); ; {
		own, stop := context.WithCancel(ctx)
		var serving sync.WaitGroup
		for _, ip := range now {
			serving.Go(func() { s.serveOne(own, asking, netip.AddrPortFrom(ip, s.cfg.Addrs[0].Port())) })
		}
		next := now
		for slices.Equal(next, now) && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case next = <-moved:
			}
		}
		stop()
		serving.Wait()
		if ctx.Err() != nil {
			return nil
		}
		now = next
	}
}

func (s *Server) serveOne(ctx, asking context.Context, addr netip.AddrPort) {
	o, err := listen(ctx, addr, true)
	if err == nil {
		defer o.close()
		err = s.serveAt(ctx, asking, o)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("dns: other nodes cannot use this node's server", "address", addr, "err", err)
	}
}

// serveAt answers on the sockets of one address.
func (s *Server) serveAt(ctx, asking context.Context, o *sockets) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range o.udp {
		g.Go(func() error { return s.serveUDP(ctx, asking, c) })
	}
	g.Go(func() error { return s.serveTCP(ctx, asking, o.tcp) })
	return g.Wait()
}

// sockets are what one address is served on.
type sockets struct {
	udp []*net.UDPConn // several, for several processors
	tcp net.Listener
}

func (o *sockets) close() {
	for _, c := range o.udp {
		c.Close()
	}
	if o.tcp != nil {
		o.tcp.Close()
	}
}

// share lets a new process bind while the old one still answers, so that a restart loses nothing. With
// early, the address may come later.
func share(early bool) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if err == nil && early { // for IPv6 too
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			}
		})
		if e != nil {
			return e
		}
		if err != nil {
			return fmt.Errorf("socket option: %w", err)
		}
		return nil
	}
}
