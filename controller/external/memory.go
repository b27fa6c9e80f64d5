package external

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
)

// remembered is how long the state of an address is kept that is not listed any more: a manifest that is deleted and
// applied again does not make a dead server look alive.
const remembered = 5 * time.Minute

// finding is what is known about one target.
type finding struct {
	counter *probe.Counter
	text    string    // of the last failure
	since   time.Time // of the present failing state, zero when it began before this program
	gone    time.Time // when it was listed last; zero while it is
	due     time.Time // the next try; zero: none is planned
	asking  bool      // a try is under way
	doubt   string    // the node from which it fails, as long as another has not confirmed that; empty: no doubt
}

// fails reports whether it is known not to answer.
func (f *finding) fails() bool { return !f.counter.Good && f.doubt == "" }

// memory is what is known about one Service.
type memory struct {
	written   string // the annotations that rule was read from
	rule      *rule  // nil while the annotations are wrong: nothing is asked or moved
	findings  map[netip.AddrPort]*finding
	targets   map[string][]netip.AddrPort // by name of seat
	node      string                      // the node that probes
	kept      map[string]bool             // endpoints that fail and keep their traffic
	complaint string                      // what was wrong with the annotations, as told last
	wrote     time.Time                   // when the objects were written last
	open      int                         // tries under way
	waiting   []appointment               // due, and too many are under way
}

// valid reports whether an appointment is to be kept: it is the target's next, and nothing has overtaken it.
func (m *memory) valid(x appointment) bool {
	known := m.findings[x.to]
	return m.rule != nil && known != nil && known.due.Equal(x.due) && known.gone.IsZero() && !known.asking
}

func newMemory() *memory {
	return &memory{findings: map[netip.AddrPort]*finding{}, targets: map[string][]netip.AddrPort{}}
}

// follow takes in a new rule. Thresholds count anew from the present states, and all tries are planned anew.
func (m *memory) follow(r *rule, written string) {
	if m.rule != nil && m.written == written {
		return
	}
	m.rule, m.written = r, written
	for _, known := range m.findings {
		known.counter = probe.NewCounter(&r.probe, !known.fails())
		known.due, known.doubt = time.Time{}, ""
	}
	m.waiting = nil
}

// list takes in which endpoints there are. The state of a target that nothing is known of is what the objects say.
func (m *memory) list(seats []seat, svc *corev1.Service, now time.Time) {
	clear(m.targets)
	good := map[netip.AddrPort]bool{}
	for i := range seats {
		s := &seats[i]
		if !s.ours() {
			continue
		}
		for _, to := range m.rule.targets(s, svc) {
			if !slices.Contains(m.targets[s.name], to) {
				m.targets[s.name] = append(m.targets[s.name], to)
			}
			before, again := good[to]
			good[to] = !s.taken && (before || !again)
		}
	}
	for to, isGood := range good {
		if known := m.findings[to]; known != nil {
			known.gone = time.Time{}
		} else {
			m.findings[to] = &finding{counter: probe.NewCounter(&m.rule.probe, isGood)}
		}
	}
	maps.DeleteFunc(m.findings, func(to netip.AddrPort, known *finding) bool {
		if _, listed := good[to]; !listed && known.gone.IsZero() {
			known.gone = now
		}
		return !known.gone.IsZero() && now.Sub(known.gone) > remembered
	})
}

// idle returns the targets for which a try is to be planned, in order.
func (m *memory) idle() []netip.AddrPort {
	var list []netip.AddrPort
	for to, known := range m.findings {
		if known.gone.IsZero() && known.due.IsZero() && !known.asking {
			list = append(list, to)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// answered takes in how one try of a target ended and reports whether its state has changed.
func (m *memory) answered(to netip.AddrPort, reply probe.Reply, now time.Time) bool {
	known := m.findings[to]
	if known == nil || !known.gone.IsZero() || m.rule == nil || reply.Unknown {
		return false
	}
	outcome := probe.Failure
	if reply.OK {
		outcome = probe.Success
	} else {
		known.text = reply.Message
	}
	if !known.counter.Add(outcome) {
		return false
	}
	known.since = time.Time{}
	if !known.counter.Good {
		known.since = now
	}
	return true
}

// settled takes in what a second node says about a target that fails from a first, and reports whether it fails. If it answers
// there, that node goes on probing. A second node that cannot tell confirms the first.
func (m *memory) settled(to netip.AddrPort, node string, reply probe.Reply) bool {
	known := m.findings[to]
	known.doubt = ""
	if !reply.OK {
		return true
	}
	known.counter = probe.NewCounter(&m.rule.probe, true)
	known.since, m.node = time.Time{}, node
	return false
}

// standings judges endpoints: one of which any target fails, fails.
func (m *memory) standings() map[string]standing {
	all := make(map[string]standing, len(m.targets))
	for name, targets := range m.targets {
		var s standing
		for _, to := range targets {
			if known := m.findings[to]; known.fails() {
				s.failing = true
				if known.since.After(s.since) {
					s.since = known.since
				}
			}
		}
		all[name] = s
	}
	return all
}

// failure is the last failure of an endpoint, in the words of the probe.
func (m *memory) failure(name string) string {
	for _, to := range m.targets[name] {
		if known := m.findings[to]; known.fails() && known.text != "" {
			return known.text
		}
	}
	return ""
}
