package nft

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/plan"
)

// cleaner cuts UDP flows beside the loop that writes rules: reading conntrack
// takes milliseconds on a busy node.
type cleaner struct {
	socket *socket
	wake   chan struct{}

	mu      sync.Mutex // guards below
	pending map[netip.AddrPort][]netip.AddrPort
}

func newCleaner(s *socket) *cleaner {
	return &cleaner{socket: s, wake: make(chan struct{}, 1), pending: map[netip.AddrPort][]netip.AddrPort{}}
}

// add asks for a look at the flows of these frontends. Of two that are the same
// the later counts.
func (c *cleaner) add(all []plan.Flows) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range all {
		c.pending[f.At] = f.Serving
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next waits for work, does it, and returns how many flows it cut.
func (c *cleaner) next(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.wake:
	}
	c.mu.Lock()
	work := c.pending
	c.pending = map[netip.AddrPort][]netip.AddrPort{}
	c.mu.Unlock()
	return c.cut(work)
}

// cut deletes the UDP flows to the given frontends that are not on one of the
// endpoints given for them.
func (c *cleaner) cut(allowed map[netip.AddrPort][]netip.AddrPort) (int, error) {
	total := 0
	for _, f := range []*plan.Family{plan.NewFamily(false), plan.NewFamily(true)} {
		for at := range allowed {
			if !f.Has(at.Addr()) {
				continue
			}
			n, err := c.cutFamily(f, allowed)
			if total += n; err != nil {
				return total, err
			}
			break
		}
	}
	return total, nil
}

func (c *cleaner) cutFamily(family *plan.Family, allowed map[netip.AddrPort][]netip.AddrPort) (int, error) {
	var wrong [][]byte // the original tuples
	err := c.socket.Flows(family.Protocol, byte(lb.UDP), func(f netfilter.Flow) {
		if endpoints, ours := allowed[f.Dest]; ours && !slices.Contains(endpoints, f.ReplySource) {
			wrong = append(wrong, slices.Clone(f.Tuple))
		}
	})
	if err != nil {
		return 0, err
	}
	cut := 0
	for _, tuple := range wrong {
		err := c.socket.DeleteFlow(family.Protocol, tuple)
		switch {
		case err == nil:
			cut++
		case !errors.Is(err, unix.ENOENT): // it may have ended by itself
			return cut, err
		}
	}
	return cut, nil
}
