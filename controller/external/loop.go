package external

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/probe"
)

const (
	// inFlight is how many tries are under way at once. When more are due they become late, the longest waiting first.
	inFlight = 128
	// perService is how many of them are for one Service, so that one with thousands of dead addresses makes no other late.
	perService = inFlight / 4
	// spread is how far apart first tries begin on average, so that a thousand addresses are no thousand connections at once.
	spread = 5 * time.Millisecond
	// silence is how long a node is avoided that could not be asked.
	silence = 10 * time.Second
)

// book plans the first tries of the targets that have none planned, at random within a time that grows with their number.
// It is called with the lock held.
func (c *Controller) book(key types.NamespacedName, m *memory, now time.Time) {
	idle := m.idle()
	delay, period, _ := probe.Timing(&m.rule.probe)
	window := min(time.Duration(len(c.agenda.heap)+len(idle))*spread, period)
	for _, to := range idle {
		c.plan(key, m, to, now.Add(delay+rand.N(window+1)))
	}
}

func (c *Controller) plan(key types.NamespacedName, m *memory, to netip.AddrPort, due time.Time) {
	m.findings[to].due = due
	c.agenda.add(appointment{due, key, to})
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// probe keeps the appointments until ctx is done.
func (c *Controller) probe(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !c.keep(ctx) {
			return
		}
		c.mu.Lock()
		next, any := c.agenda.next()
		c.mu.Unlock()
		wait := time.Hour
		if any {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// keep starts the tries that are due; false means that ctx is done.
func (c *Controller) keep(ctx context.Context) bool {
	for {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		node, try, found := c.due()
		if !found {
			<-c.slots
			return true
		}
		c.tries.Go(func() {
			defer func() { <-c.slots }()
			reply, err := c.ask(ctx, node, try.request)
			if ctx.Err() == nil {
				c.answered(try, node.Name, reply, err)
			}
		})
	}
}

// try is one question under way.
type try struct {
	appointment
	memory  *memory
	request probe.Request
}

// due takes the next try that is due, and the node that is to make it.
func (c *Controller) due() (*corev1.Node, try, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for {
		x, found := c.agenda.take(now)
		if !found {
			return nil, try{}, false
		}
		m := c.memories[x.svc]
		if m == nil {
			continue
		}
		if !m.valid(x) {
			c.release(m)
			continue
		}
		if m.open >= perService {
			m.waiting = append(m.waiting, x)
			continue
		}
		known := m.findings[x.to]
		known.due = time.Time{}
		node := c.choose(x.svc, m, now)
		if known.doubt != "" {
			node = c.another(x.svc, known.doubt, now)
		}
		if node == nil {
			if known.doubt != "" && m.settled(x.to, "", probe.Reply{Unknown: true}) {
				c.queue.Add(x.svc)
			}
			c.plan(x.svc, m, x.to, c.after(m, x.due, now))
			c.release(m)
			continue
		}
		known.asking = true
		m.open++
		return node, try{x, m, probe.Request{
			Address: x.to.Addr(), Port: int32(x.to.Port()), Handler: m.rule.probe.ProbeHandler, TimeoutSeconds: m.rule.probe.TimeoutSeconds,
		}}, true
	}
}

// release lets the next try go on that waits because too many of its Service are under way.
func (c *Controller) release(m *memory) {
	for len(m.waiting) > 0 && m.open < perService {
		x := m.waiting[0]
		m.waiting = m.waiting[1:]
		if m.valid(x) {
			c.agenda.add(x)
			select {
			case c.wake <- struct{}{}:
			default: // it will look anyway
			}
			return
		}
	}
}

// another is a node that can confirm what a first one says; nil when there is none that answers.
func (c *Controller) another(key types.NamespacedName, first string, now time.Time) *corev1.Node {
	others := maps.Clone(c.nodes)
	delete(others, first)
	for name := range c.quiet(now) {
		delete(others, name)
	}
	return others[vantage(key, "", others, nil)]
}

// quiet are the nodes that did not answer lately.
func (c *Controller) quiet(now time.Time) map[string]bool {
	maps.DeleteFunc(c.silent, func(_ string, until time.Time) bool { return now.After(until) })
	silent := make(map[string]bool, len(c.silent))
	for name := range c.silent {
		silent[name] = true
	}
	return silent
}

// choose is the node that probes a Service now, nil when there is none.
func (c *Controller) choose(key types.NamespacedName, m *memory, now time.Time) *corev1.Node {
	name := vantage(key, m.node, c.nodes, c.quiet(now))
	if name != m.node {
		c.log.Info("external endpoints are probed from a node", "service", key, "node", name, "before", m.node)
		m.node = name
	}
	return c.nodes[name]
}

// after is when the try after one that was due at due is due. A target keeps its own beat unless it is late; those that are late
// together, because the program or a node stood still, part again.
func (c *Controller) after(m *memory, due, now time.Time) time.Time {
	_, period, _ := probe.Timing(&m.rule.probe)
	if next := due.Add(period); next.After(now) {
		return next
	}
	return now.Add(period - rand.N(period/10+1))
}

// answered takes in how a try ended. When the node could not be asked, another one is at once.
func (c *Controller) answered(t try, node string, reply probe.Reply, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if err != nil {
		c.log.Debug("a probe could not be made", "service", t.svc, "endpoint", t.to, "err", err)
		c.silent[node] = now.Add(silence)
	}
	m := t.memory
	m.open--
	defer c.release(m)
	if c.memories[t.svc] != m || m.findings[t.to] == nil {
		return
	}
	known := m.findings[t.to]
	known.asking = false
	if m.rule == nil || !known.gone.IsZero() {
		return
	}
	next := c.after(m, t.due, now)
	switch {
	case known.doubt != "":
		reply.Unknown = reply.Unknown || err != nil
		if m.settled(t.to, node, reply) {
			c.queue.Add(t.svc)
		}
	case err != nil:
		if other := c.choose(t.svc, m, now); other != nil && other.Name != node {
			next = now
		}
	case !m.answered(t.to, reply, now):
	case !known.counter.Good && c.another(t.svc, node, now) != nil:
		known.doubt, next = node, now // before it goes out another node is asked
	default:
		c.queue.Add(t.svc)
	}
	c.plan(t.svc, m, t.to, next)
}
