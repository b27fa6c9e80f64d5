package l7

import (
	"crypto/tls"
	"crypto/x509"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// plan is what the engine has made of a rule.
type plan struct {
	*route.Action
	targets  []target
	weights  uint64
	turn     atomic.Uint64
	limiter  *limiter
	external *target
	instead  *target
	mirrors  []mirror
	lean     bool // a lane can do it
}

// target is a backend with where it leads.
type target struct {
	*route.Backend
	pools   *upstream.Pools
	pool    *upstream.Pool
	dialect *upstream.Dialect
	mirrors []mirror
	counted *counters

	request, response edits // of a lane
}

type mirror struct {
	*route.Mirror
	target target
	turn   *atomic.Uint64
}

// planOf returns the plan of a rule of a table.
func (e *Engine) planOf(now *served, rule *route.Rule) *plan {
	if p, ok := now.plans.Load(rule); ok {
		return p.(*plan)
	}
	p, _ := now.plans.LoadOrStore(rule, e.newPlan(rule))
	return p.(*plan)
}

func (e *Engine) newPlan(rule *route.Rule) *plan {
	a := &rule.Action
	p := &plan{Action: a, mirrors: e.mirrorsOf(a.Mirrors, a)}
	for i := range a.Backends {
		t := e.targetOf(&a.Backends[i], a.Timeouts.Connect)
		t.mirrors = e.mirrorsOf(t.Mirrors, a)
		p.targets = append(p.targets, t)
		p.weights += uint64(max(t.Weight, 0))
	}
	if a.Limit != (route.Limit{}) {
		p.limiter = e.limiters.of(rule.Source, &a.Limit)
	}
	if a.External != nil && a.External.Backend != nil {
		t := e.targetOf(a.External.Backend, a.Timeouts.Connect)
		p.external = &t
	}
	if a.Instead != nil {
		t := e.targetOf(&a.Instead.Backend, a.Timeouts.Connect)
		p.instead = &t
	}
	p.lean = p.plain()
	return p
}

// plain reports whether a lane can do what the rule says, and prepares it.
func (p *plan) plain() bool {
	a := p.Action
	if p.weights == 0 || a.CORS != nil || a.Certificate != nil || a.Basic != nil || a.External != nil || a.Redirect != nil || a.Respond != nil || a.Affinity != nil || a.Instead != nil ||
		len(a.Mirrors) > 0 || p.limiter != nil || a.BufferRequest || a.BufferResponse || len(a.Retry.Codes) > 0 || a.Retry.Backoff > 0 ||
		a.Retry.Deadline > 0 || a.Balance.Kind == route.Hashed {
		return false
	}
	for i := range p.targets {
		t := &p.targets[i]
		var first, second bool
		t.request, first = editsOf(a.Request, t.Request)
		t.response, second = editsOf(t.Response, a.Response)
		if !first || !second || t.Broken != "" || t.TLS != nil || t.Protocol != route.HTTP1 || len(t.Mirrors) > 0 {
			return false
		}
	}
	return true
}

func (e *Engine) targetOf(b *route.Backend, connect time.Duration) target {
	if connect <= 0 {
		connect = upstream.ConnectTimeout
	}
	return target{
		Backend: b, pools: &e.pools, pool: e.pools.Get(upstream.Key{Service: b.Service, Port: b.Port, Local: b.Local}),
		dialect: e.dialects.of(b, connect, e.config.Certificate), counted: e.metrics.of(b.Service),
	}
}

func (e *Engine) mirrorsOf(list []route.Mirror, a *route.Action) []mirror {
	var all []mirror
	for i := range list {
		all = append(all, mirror{&list[i], e.targetOf(&list[i].Backend, a.Timeouts.Connect), new(atomic.Uint64)})
	}
	return all
}

// golden is 2^64 divided by the golden ratio: its multiples, modulo 2^64, fall evenly into every part of the whole, however few
// there are.
const golden = 0x9E3779B97F4A7C15

// choose returns a target by weight, nil if there is none with any.
func (p *plan) choose() *target {
	if p.weights == 0 {
		return nil
	}
	if len(p.targets) == 1 {
		return &p.targets[0]
	}
	at, _ := bits.Mul64(p.turn.Add(golden), p.weights)
	for i := range p.targets {
		w := uint64(max(p.targets[i].Weight, 0))
		if at < w {
			return &p.targets[i]
		}
		at -= w
	}
	return nil // the weights add up to more
}

// wanted reports whether this request is one of those to copy.
func (m *mirror) wanted() bool {
	if m.Denominator <= 0 {
		return true
	}
	at, _ := bits.Mul64(m.turn.Add(golden), uint64(m.Denominator))
	return at < uint64(max(m.Numerator, 0))
}

// pick returns the endpoint for a request, nil if there is none left.
func (t *target) pick(c *upstream.Choice) *upstream.Endpoint {
	e := t.pool.Pick(c)
	if e == nil && len(c.Not) == 0 { // the pool may be one that was swept
		e = t.pools.Get(t.pool.Key).Pick(c)
	}
	return e
}

// dialects are the ways to speak that rules ask for, each once, so that connections are shared and outlive tables.
type dialects struct {
	mu  sync.Mutex
	all []dialect
}

type dialect struct {
	protocol route.BackendProtocol
	tls      *route.BackendTLS
	connect  time.Duration
	is       *upstream.Dialect
}

func (d *dialects) of(b *route.Backend, connect time.Duration, certificate func(types.NamespacedName) *tls.Certificate) *upstream.Dialect {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, have := range d.all {
		if have.protocol == b.Protocol && have.connect == connect && sameTLS(have.tls, b.TLS) {
			return have.is
		}
	}
	is := &upstream.Dialect{Protocol: b.Protocol, Connect: connect}
	if b.TLS != nil {
		var client func() *tls.Certificate
		if name := b.TLS.Client; name != nil {
			client = func() *tls.Certificate { return certificate(*name) }
		}
		is.TLS = upstream.ClientTLS(b.TLS, client)
	}
	d.all = append(d.all, dialect{b.Protocol, b.TLS, connect, is})
	return is
}

func sameTLS(a, b *route.BackendTLS) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && slices.Equal(a.Names, b.Names) && a.System == b.System && samePool(a.CAs, b.CAs) &&
		(a.Client == b.Client || a.Client != nil && b.Client != nil && *a.Client == *b.Client)
}

func samePool(a, b *x509.CertPool) bool { return a == b || a != nil && b != nil && a.Equal(b) }
