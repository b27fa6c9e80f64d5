package nft

import (
	"context"
	"errors"
	"time"

	"fairlead.dev/fairlead/world"
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
	// What the next step without a failure completes.
	changed map[world.ServiceName]struct{}
}

func newLoop(p *Proxy, s *socket, c *cleaner) *loop {
	l := &loop{proxy: p, socket: s, cleaner: c, changed: map[world.ServiceName]struct{}{}}
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
	subscription := l.proxy.world.Subscribe()
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
		case <-audit.C:
			if !l.audit() {
				continue
			}
		}
		if err := l.step(subscription.Take()); err != nil {
			retry.Reset(min(firstRetry<<min(l.failures, 10), lastRetry))
		}
	}
}

// step takes the changes into the books and the books into the kernel.
func (l *loop) step(changes world.Changes) error {
	started := time.Now()
	l.proxy.begin(started)
	var failed error
	written := true
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
	if written {
		clear(l.changed)
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
		s.Services += len(t.book.services)
		s.Classes += len(t.book.classes.known)
		s.Transactions += t.transactions
		s.Rewrites += t.rewrites
		for _, n := range t.book.counts {
			s.Elements += n
		}
	}
	if !written {
		s.Failures++
		return
	}
	for name := range l.changed {
		if l.knows(name) {
			p.applied[name] = now
		} else {
			delete(p.applied, name)
		}
	}
	if len(l.changed) > 0 {
		s.Last = now.Sub(started)
	}
}

func (l *loop) knows(name world.ServiceName) bool {
	for _, t := range l.tables {
		if t.book.services[name] != nil {
			return true
		}
	}
	return false
}
