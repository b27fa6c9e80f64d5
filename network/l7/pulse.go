package l7

import (
	"sync"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// pulse ends an attempt at an endpoint that takes too long: as a whole, or between two writes to it or two reads from it.
type pulse struct {
	send, read time.Duration
	expired    func()

	mu    sync.Mutex
	whole *time.Timer // nil: no bound
	part  *time.Timer // nil: no bound
	over  bool
}

func newPulse(t *route.Timeouts, expired func()) *pulse {
	p := &pulse{send: t.Send, read: t.Read, expired: expired}
	if t.Backend > 0 {
		p.whole = time.AfterFunc(t.Backend, expired)
	}
	return p
}

// start has the bound be d from now.
func (p *pulse) start(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
	case p.part == nil && d > 0:
		p.part = time.AfterFunc(d, p.expired)
	case p.part != nil && d > 0:
		p.part.Reset(d)
	case p.part != nil:
		p.part.Stop()
	}
}

// beat is a part of the body that goes to the endpoint, wait one that the client has not sent yet.
func (p *pulse) beat() { p.start(p.send) }

func (p *pulse) wait() { p.start(0) }

// uploaded is the end of the body: the endpoint's turn.
func (p *pulse) uploaded() { p.start(p.read) }

// sent is the beginning of the answer; got is each part of it.
func (p *pulse) sent() { p.start(p.read) }

func (p *pulse) got() { p.start(p.read) }

func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, t := range []*time.Timer{p.whole, p.part} {
		if t != nil {
			t.Stop()
		}
	}
}
