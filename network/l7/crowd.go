package l7

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// share is what part of the connections that the node can have one client may have: others are served still, whatever it does.
const share = 4

// crowd counts the connections of each client. The zero value is ready.
type crowd struct {
	mu sync.Mutex
	of map[netip.Addr]int
}

// seat is one connection's place in the crowd; nil: it needs none.
type seat struct {
	crowd *crowd
	of    netip.Addr
	left  atomic.Bool
}

// enter takes a place for a client's connection; false: it has as many as it may.
func (c *crowd) enter(client netip.Addr, most int) (*seat, bool) {
	client = neighbourhood(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[client] >= most {
		return nil, false
	}
	if c.of == nil {
		c.of = map[netip.Addr]int{}
	}
	c.of[client]++
	return &seat{crowd: c, of: client}, true
}

// leave gives the place back, once.
func (s *seat) leave() {
	if s == nil || s.left.Swap(true) {
		return
	}
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	if s.crowd.of[s.of]--; s.crowd.of[s.of] == 0 {
		delete(s.crowd.of, s.of)
	}
}

// neighbourhood is whom an address is counted as: of IPv6 a client has a whole network.
func neighbourhood(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if network, err := a.WithZone("").Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}
