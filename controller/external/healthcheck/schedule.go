package healthcheck

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/probe"
)

// scheduleFirst schedules the first probes of the targets that have none scheduled, at random within a time that grows with
// their number.
func (m *Monitor) scheduleFirst(key types.NamespacedName, s *serviceState, now time.Time) {
	targets := s.unscheduled()
	delay, period, _ := probe.Timing(&s.spec.probe)
	window := min(time.Duration(len(m.queue.heap)+len(targets))*spread, period)
	for _, target := range targets {
		m.schedule(key, s, target, now.Add(delay+m.Jitter(window+1)))
	}
}

func (m *Monitor) schedule(key types.NamespacedName, s *serviceState, target netip.AddrPort, due time.Time) {
	s.targets[target].due = due
	m.queue.add(scheduled{due, key, target})
}

// Next is when the next probe is due; false when none is scheduled.
func (m *Monitor) Next() (time.Time, bool) { return m.queue.next() }

// Due takes the next probe that is due; false when there is none. How it ended is to be told to Answered.
func (m *Monitor) Due(now time.Time) (Try, bool) {
	for {
		x, found := m.queue.take(now)
		if !found {
			return Try{}, false
		}
		s := m.services[x.svc]
		if s == nil {
			continue
		}
		if !s.valid(x) {
			m.undefer(s)
			continue
		}
		if s.inFlight >= MaxPerService {
			s.deferred = append(s.deferred, x)
			continue
		}
		known := s.targets[x.target]
		known.due = time.Time{}
		node := m.prober(x.svc, s, now)
		if known.unconfirmed != "" {
			node = m.second(x.svc, known.unconfirmed, now)
		}
		if node == nil {
			if known.unconfirmed != "" && s.confirm(x.target, "", probe.Reply{Unknown: true}) {
				m.Changed(x.svc)
			}
			m.schedule(x.svc, s, x.target, m.following(s, x.due, now))
			m.undefer(s)
			continue
		}
		known.probing = true
		s.inFlight++
		return Try{Service: x.svc, Node: node, scheduled: x, of: s, Request: probe.Request{
			Address: x.target.Addr(), Port: int32(x.target.Port()), Handler: s.spec.probe.ProbeHandler, TimeoutSeconds: s.spec.probe.TimeoutSeconds,
		}}, true
	}
}

// undefer lets the next probe go on that waits because too many of its Service are under way.
func (m *Monitor) undefer(s *serviceState) {
	for len(s.deferred) > 0 && s.inFlight < MaxPerService {
		x := s.deferred[0]
		s.deferred = s.deferred[1:]
		if s.valid(x) {
			m.queue.add(x)
			return
		}
	}
}

// following is when the probe after one that was due at due is due. A target keeps its own beat unless it is late; those that are
// late together, because the program or a node stood still, part again.
func (m *Monitor) following(s *serviceState, due, now time.Time) time.Time {
	_, period, _ := probe.Timing(&s.spec.probe)
	if next := due.Add(period); next.After(now) {
		return next
	}
	return now.Add(period - m.Jitter(period/10+1))
}

// Answered takes in how a probe ended. When its node could not be asked (asked is false), another one is at once, and the reply
// is not looked at.
func (m *Monitor) Answered(t Try, reply probe.Reply, asked bool, now time.Time) {
	if !asked {
		m.avoided[t.Node.Name] = now.Add(avoidFor)
		reply = probe.Reply{Unknown: true}
	}
	s := t.of
	s.inFlight--
	defer m.undefer(s)
	known := s.targets[t.target]
	if m.services[t.Service] != s || known == nil {
		return
	}
	known.probing = false
	if s.spec == nil || !known.unlisted.IsZero() {
		return
	}
	next := m.following(s, t.due, now)
	switch {
	case known.unconfirmed != "":
		if s.confirm(t.target, t.Node.Name, reply) {
			m.Changed(t.Service)
		}
	case !asked:
		if other := m.prober(t.Service, s, now); other != nil && other.Name != t.Node.Name {
			next = now
		}
	case !s.record(t.target, reply, now):
	case !known.counter.Good && m.second(t.Service, t.Node.Name, now) != nil:
		known.unconfirmed, next = t.Node.Name, now // before it is ejected another node is asked
	default:
		m.Changed(t.Service)
	}
	m.schedule(t.Service, s, t.target, next)
}
