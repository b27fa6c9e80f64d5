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

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/world"
)

// Besides the cluster DNS address, which every node has, a node's server answers on an address of the
// node's own, for the pods of nodes whose server is not there. It is the first of the node's pod range
// (package route holds it), so it comes after the server, and can change.

// ownAddrs are the own addresses of a node, one of each family.
func ownAddrs(w *world.World, node string) []netip.Addr {
	if n := w.Node(node); n != nil {
		return api.NameServers(n)
	}
	return nil
}

// serveOwn answers on the node's own addresses until ctx is done. One that cannot be had is logged: the
// node's own pods do not need it.
func (s *Server) serveOwn(ctx, asking context.Context) {
	for now := []netip.Addr(nil); ctx.Err() == nil; {
		own, stop := context.WithCancel(ctx)
		var serving sync.WaitGroup
		for _, ip := range now {
			addr := netip.AddrPortFrom(ip, s.cfg.Addrs[0].Port())
			o, err := listen(own, addr, true)
			if err != nil {
				s.log.Error("other nodes cannot use this node's server", "address", addr, "err", err)
				continue
			}
			serving.Go(func() {
				defer o.close()
				if err := s.serveAt(own, asking, o); err != nil {
					s.log.Error("other nodes cannot use this node's server any more", "address", addr, "err", err)
				}
			})
		}
		next := now
		for slices.Equal(next, now) && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case next = <-s.moved:
			}
		}
		now = next
		stop()
		serving.Wait()
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

// waitingRoom is how many bytes of queries the kernel keeps for a UDP socket, a query of a hundred bytes being counted as
// some hundreds: more than a second of 5 000 queries/s, for a server that has to wait for a processor, as at its start.
const waitingRoom = 4 << 20

// share lets a new process bind while the old one still answers, so that a restart loses nothing. With
// early, the address may come later.
func share(early bool) func(_, _ string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		var err error
		e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if network[:3] == "udp" && unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, waitingRoom) != nil { // without CAP_NET_ADMIN
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, waitingRoom)
			}
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
