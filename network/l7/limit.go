package l7

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// mostClients is how many addresses a rule is counted for; beyond that those are forgotten that are at rest.
const mostClients = 65536

// limiters are the rules' counts. They outlive tables.
type limiters struct {
	mu  sync.Mutex
	all map[route.Source]*limiter
}

func (l *limiters) of(rule route.Source, limit *route.Limit) *limiter {
	if limit.Together {
		rule.Rule = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.all[rule]; have != nil && have.Limit == *limit {
		return have
	}
	if l.all == nil || len(l.all) > 10_000 { // most of them of rules that are no more
		l.all = map[route.Source]*limiter{}
	}
	made := &limiter{Limit: *limit, clients: map[netip.Addr]*client{}}
	l.all[rule] = made
	return made
}

// limiter bounds what client addresses do with one rule: requests a second by a bucket that fills at that rate up to Burst
// beyond one, and requests under way.
type limiter struct {
	route.Limit
	mu      sync.Mutex
	clients map[netip.Addr]*client
}

type client struct {
	level    float64 // requests beyond the rate
	at       time.Time
	underway int
}

// enter returns 0 if a request may begin, else the status that refuses it. After a 0, leave has to follow.
func (l *limiter) enter(a netip.Addr, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[a]
	if c == nil {
		if len(l.clients) >= mostClients {
			if l.forget(now); len(l.clients) >= mostClients {
				return 0 // nobody is refused for what others do
			}
		}
		c = &client{at: now}
		l.clients[a] = c
	}
	if l.PerSecond > 0 {
		c.level = max(0, c.level-now.Sub(c.at).Seconds()*l.PerSecond)
		c.at = now
		if c.level > float64(l.Burst) {
			return l.status(http.StatusTooManyRequests)
		}
	}
	if l.Connections > 0 && c.underway >= l.Connections {
		return l.status(http.StatusServiceUnavailable)
	}
	c.level++
	c.underway++
	return 0
}

func (l *limiter) status(otherwise int) int {
	if l.Status != 0 {
		return l.Status
	}
	return otherwise
}

func (l *limiter) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[a]; c != nil {
		c.underway--
	}
}

func (l *limiter) forget(now time.Time) {
	for a, c := range l.clients {
		if c.underway == 0 && c.level <= now.Sub(c.at).Seconds()*l.PerSecond {
			delete(l.clients, a)
		}
	}
}
