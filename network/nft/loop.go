package nft

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// loop is the state of a running Proxy. One goroutine has it.
type loop struct {
	proxy    *Proxy
	socket   *socket
	tables   []*table
	cleaner  *cleaner
	failures int // in a row
	// generation is the ruleset's when the tables were last known to be good.
	generation uint32
	looked     time.Time // at the table of connections
	full       bool
	// What the next step without a failure completes.
	changed map[types.NamespacedName]struct{}
}

func newLoop(p *Proxy, s *socket, c *cleaner) *loop {
	l := &loop{proxy: p, socket: s, cleaner: c, changed: map[types.NamespacedName]struct{}{}}
	for _, f := range p.families {
		l.tables = append(l.tables, newTable(p, f, s))
	}
	return l
}

// How long to wait after failures, and how often to look whether somebody else
// changed a table.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	auditEvery = time.Second
)

func (l *loop) run(ctx context.Context) error {
	subscription := l.proxy.world.Subscribe(world.Services, world.Nodes, world.ServiceCIDRs)
	defer subscription.Close()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-subscription.Wake():
		case <-retry.C:
		case now := <-audit.C:
			l.watchConntrack(now)
			if !l.audit() {
				continue
			}
		}
		if err := l.step(subscription.Take()); err != nil {
			retry.Reset(min(firstRetry<<min(l.failures, 10), lastRetry))
		}
	}
}

// step takes in the changes and brings what is desired into the kernel.
func (l *loop) step(changes world.Changes) error {
	started := time.Now()
	l.proxy.begin(started)
	var failed error
	written := true
	if n := len(changes.Of(world.Services)); n > 1000 && len(l.changed) == 0 {
		l.changed = make(map[types.NamespacedName]struct{}, n)
	}
	for _, t := range l.tables {
		err := t.takeIn(changes, l.changed)
		wrote := t.write()
		if wrote == nil {
			l.cleaner.add(t.cut) // rule P81: after the rules are in
			t.cut = nil
		}
		written = written && wrote == nil
		failed = errors.Join(failed, err, wrote)
	}
	l.record(started, written, failed)
	l.measure(started, written)
	if written {
		l.changed = map[types.NamespacedName]struct{}{} // a large one, emptied, would stay as slow to walk
	}
	return failed
}

// record notes the outcome of a step, and logs when it turns from good to bad
// or back.
func (l *loop) record(started time.Time, written bool, err error) {
	p, now := l.proxy, time.Now()
	if err != nil {
		if l.failures == 0 {
			p.log.Error("cannot program services into the kernel; retrying", "err", err)
		}
		l.failures++
	} else if l.failures > 0 {
		p.log.Info("services are programmed again", "failures", l.failures)
		l.failures = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	s.Failure = err
	if err == nil {
		s.Updated, s.Pending = now, time.Time{}
	}
	s.Services, s.Classes, s.Elements, s.Transactions, s.Rewrites = 0, 0, 0, 0, 0
	for _, t := range l.tables {
		s.Services += t.desired.Len()
		s.Classes += t.desired.Classes()
		s.Transactions += t.transactions
		s.Rewrites += t.rewrites
		s.Elements += t.desired.Elements()
	}
	if !written {
		s.Failures++
		return
	}
	if len(p.taken) == 0 {
		p.taken = make(map[types.NamespacedName]taken, len(l.changed))
	}
	for name := range l.changed {
		if a := l.has(name); a.services != [2]*plan.Service{} {
			a.at = now
			p.taken[name] = a
		} else {
			delete(p.taken, name)
		}
	}
	if len(l.changed) > 0 {
		s.Last = now.Sub(started)
	}
}

// has returns what the tables have of a Service.
func (l *loop) has(name types.NamespacedName) (a taken) {
	for i, t := range l.tables {
		a.services[i] = t.desired.Service(name)
	}
	return a
}

// measure shows a step in the metrics.
func (l *loop) measure(started time.Time, written bool) {
	m, now := l.proxy.metrics, time.Now()
	if l.proxy.cfg.Metrics == nil {
		return
	}
	seconds := func(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
	m.queued.Set(seconds(started))
	if !written {
		return
	}
	m.duration.Observe(now.Sub(started).Seconds())
	m.last.Set(seconds(now))
	m.services.pending.Set(0)
	m.endpoints.pending.Set(0)
	var without [2]int
	for _, t := range l.tables {
		for _, at := range t.triggers {
			m.latency.Observe(now.Sub(at).Seconds())
		}
		t.triggers = t.triggers[:0]
		internal, external := t.desired.Excluded()
		without[0] += internal
		without[1] += external
	}
	m.noLocal.WithLabelValues("internal").Set(float64(without[0]))
	m.noLocal.WithLabelValues("external").Set(float64(without[1]))
}

// How full the table of connections may be: above the first a warning is
// logged, and again only after it has been below the second, in percent.
const (
	nearlyFull  = 90
	roomAgain   = 75
	lookAtFlows = 10 * time.Second
)

// watchConntrack warns of a full table of connections: what does not fit is
// dropped, of Services and of everything else.
func (l *loop) watchConntrack(now time.Time) {
	if now.Sub(l.looked) < lookAtFlows {
		return
	}
	l.looked = now
	entries, limit, err := l.socket.conntracked()
	if err == nil && limit > 0 {
		l.judge(entries, limit)
	}
}

func (l *loop) judge(entries, limit uint32) {
	switch percent := uint64(entries) * 100 / uint64(limit); {
	case percent >= nearlyFull && !l.full:
		l.full = true
		l.proxy.log.Warn("the table of connections is nearly full; new connections will be dropped when it is: raise net.netfilter.nf_conntrack_max",
			"entries", entries, "limit", limit)
	case percent < roomAgain:
		l.full = false
	}
}
