package upstream

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// Key is a port of a Service, by the Service's number for it.
type Key struct {
	Service types.NamespacedName
	Port    int32
	Local   bool // only those on this node
}

// Pools are all Services' endpoints. The zero value is ready.
type Pools struct {
	mu  sync.Mutex // of writers
	all sync.Map   // Key -> *Pool
}

// Get returns the pool of a Service's port, which is empty until it is told of endpoints.
func (p *Pools) Get(k Key) *Pool {
	if pool, ok := p.all.Load(k); ok {
		return pool.(*Pool)
	}
	pool, _ := p.all.LoadOrStore(k, &Pool{Key: k})
	return pool.(*Pool)
}

// Set says which endpoints a Service's port has from now on.
func (p *Pools) Set(k Key, backends []lb.Backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Get(k).set(backends)
}

// Sweep forgets the pools that have no endpoints. Who holds one asks Get again before it believes that there are none.
func (p *Pools) Sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Range(func(k, pool any) bool {
		if len(pool.(*Pool).Endpoints()) == 0 {
			p.all.Delete(k)
		}
		return true
	})
}

// Range calls f with each pool until it returns false.
func (p *Pools) Range(f func(*Pool) bool) {
	p.all.Range(func(_, pool any) bool { return f(pool.(*Pool)) })
}

// Pool is the endpoints of one port of a Service.
type Pool struct {
	Key
	endpoints atomic.Pointer[[]*Endpoint] // never changed in place
	turn      atomic.Uint32
}

// Endpoints are those of this moment, not to be changed.
func (p *Pool) Endpoints() []*Endpoint {
	if all := p.endpoints.Load(); all != nil {
		return *all
	}
	return nil
}

// set replaces the endpoints; those that stay keep their state, those that leave lose their kept connections.
func (p *Pool) set(backends []lb.Backend) {
	before := map[netip.AddrPort]*Endpoint{}
	for _, e := range p.Endpoints() {
		before[e.Addr] = e
	}
	now := make([]*Endpoint, 0, len(backends))
	for _, b := range backends {
		e := before[b.Addr]
		if e == nil {
			e = newEndpoint(p.Key, b.Addr)
		}
		delete(before, b.Addr)
		now = append(now, e)
	}
	p.endpoints.Store(&now)
	for _, e := range before {
		e.leave()
	}
}

// Choice is what is asked of Pick.
type Choice struct {
	Kind route.BalanceKind
	Hash uint64      // of the value that decides, when Kind is Hashed
	Not  []*Endpoint // that were tried before
	Now  time.Time
}

// Pick returns the endpoint for the next request, nil if there is none that was not tried. An endpoint whose connections fail is
// chosen when its pause is over, by one request, or when nothing better is left.
func (p *Pool) Pick(c *Choice) *Endpoint {
	all := p.Endpoints()
	if len(all) == 0 {
		return nil
	}
	var best, last *Endpoint
	first := int(p.turn.Add(1)-1) % len(all)
	for i := range all {
		e := all[(first+i)%len(all)]
		if tried(c.Not, e) {
			continue
		}
		if !e.available(c.Now) {
			if last == nil || e.retryAt.Load() < last.retryAt.Load() {
				last = e
			}
			continue
		}
		switch {
		case c.Kind == route.RoundRobin:
			return e
		case best == nil,
			c.Kind == route.LeastRequest && e.active.Load() < best.active.Load(),
			c.Kind == route.Hashed && mix(e.hash^c.Hash) > mix(best.hash^c.Hash):
			best = e
		}
	}
	if best == nil {
		return last
	}
	return best
}

// ByID returns the endpoint of an ID, nil when it is not there any more.
func (p *Pool) ByID(id string) *Endpoint {
	for _, e := range p.Endpoints() {
		if e.ID == id {
			return e
		}
	}
	return nil
}

func tried(list []*Endpoint, e *Endpoint) bool {
	for _, t := range list {
		if t == e {
			return true
		}
	}
	return false
}

// Hash is a hash of a text, the same in every process (FNV-1a, then mixed).
func Hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h)
}

// mix has every bit of the input change about half of the output's (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
