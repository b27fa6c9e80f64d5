package healthcheck

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
)

// remembered is how long the state of a target is kept that is not listed any more: a manifest that is deleted and applied again
// does not make a dead server look alive.
const remembered = 5 * time.Minute

// targetState is what is known about one target, which is an address and a port that is probed.
type targetState struct {
	counter     *probe.Counter
	message     string    // of the last failure
	since       time.Time // of the present failing state, zero when it began before this program
	unlisted    time.Time // when it was listed last; zero while it is
	due         time.Time // the next probe; zero: none is scheduled
	probing     bool      // a probe is under way
	unconfirmed string    // the node from which it fails, as long as another has not confirmed that; else empty
}

// fails reports whether it is known not to answer.
func (s *targetState) fails() bool { return !s.counter.Good && s.unconfirmed == "" }

// serviceState is what is known about one Service.
type serviceState struct {
	annotations string // that spec was read from
	spec        *spec  // nil while the annotations are wrong: nothing is probed or moved
	targets     map[netip.AddrPort]*targetState
	byEndpoint  map[string][]netip.AddrPort // targets by name of endpoint
	prober      string                      // the node that probes
	kept        map[string]bool             // endpoints that fail and keep their traffic
	ejected     int                         // endpoints that get none, as planned last
	problem     string                      // what was wrong with the annotations, as an Event told last
	written     time.Time                   // when the objects were written last
	inFlight    int                         // probes under way
	deferred    []scheduled                 // due, and too many are under way
}

func newServiceState() *serviceState {
	return &serviceState{targets: map[netip.AddrPort]*targetState{}, byEndpoint: map[string][]netip.AddrPort{}}
}

// valid reports whether a scheduled probe is to be made: it is the target's next, and nothing has overtaken it.
func (s *serviceState) valid(x scheduled) bool {
	known := s.targets[x.target]
	return s.spec != nil && known != nil && known.due.Equal(x.due) && known.unlisted.IsZero() && !known.probing
}

// configure takes in a new spec. Thresholds count anew from the present states, and all probes are scheduled anew.
func (s *serviceState) configure(to *spec, annotations string) {
	if s.spec != nil && s.annotations == annotations {
		return
	}
	s.spec, s.annotations = to, annotations
	for _, known := range s.targets {
		known.counter = probe.NewCounter(&to.probe, !known.fails())
		known.due, known.unconfirmed = time.Time{}, ""
	}
	s.deferred = nil
}

// list takes in which endpoints there are. The state of a target that nothing is known of is what the objects say.
func (s *serviceState) list(endpoints []Endpoint, svc *corev1.Service, now time.Time) {
	clear(s.byEndpoint)
	good := map[netip.AddrPort]bool{}
	for i := range endpoints {
		e := &endpoints[i]
		if !e.managed() {
			continue
		}
		for _, target := range s.spec.targets(e, svc) {
			if !slices.Contains(s.byEndpoint[e.Name], target) {
				s.byEndpoint[e.Name] = append(s.byEndpoint[e.Name], target)
			}
			before, again := good[target]
			good[target] = !e.Ejected && (before || !again)
		}
	}
	for target, isGood := range good {
		if known := s.targets[target]; known != nil {
			known.unlisted = time.Time{}
		} else {
			s.targets[target] = &targetState{counter: probe.NewCounter(&s.spec.probe, isGood)}
		}
	}
	maps.DeleteFunc(s.targets, func(target netip.AddrPort, known *targetState) bool {
		if _, listed := good[target]; !listed && known.unlisted.IsZero() {
			known.unlisted = now
		}
		return !known.unlisted.IsZero() && now.Sub(known.unlisted) > remembered
	})
}

// unscheduled returns the targets for which a probe is to be scheduled, in order.
func (s *serviceState) unscheduled() []netip.AddrPort {
	var list []netip.AddrPort
	for target, known := range s.targets {
		if known.unlisted.IsZero() && known.due.IsZero() && !known.probing {
			list = append(list, target)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// record takes in how one probe of a target ended and reports whether its state has changed.
func (s *serviceState) record(target netip.AddrPort, reply probe.Reply, now time.Time) bool {
	known := s.targets[target]
	if known == nil || !known.unlisted.IsZero() || s.spec == nil {
		return false
	}
	if reply.Outcome() == probe.Failure {
		known.message = reply.Message
	}
	if !known.counter.Add(reply.Outcome()) {
		return false
	}
	known.since = time.Time{}
	if !known.counter.Good {
		known.since = now
	}
	return true
}

// confirm takes in what a second node says about a target that fails from a first, and reports whether it fails. If it answers
// there, that node goes on probing. A second node that cannot tell confirms the first.
func (s *serviceState) confirm(target netip.AddrPort, node string, reply probe.Reply) bool {
	known := s.targets[target]
	known.unconfirmed = ""
	if reply.Outcome() != probe.Success {
		return true
	}
	known.counter = probe.NewCounter(&s.spec.probe, true)
	known.since, s.prober = time.Time{}, node
	return false
}

// health judges endpoints: one of which any target fails, fails.
func (s *serviceState) health() map[string]health {
	all := make(map[string]health, len(s.byEndpoint))
	for name, targets := range s.byEndpoint {
		var h health
		for _, target := range targets {
			if known := s.targets[target]; known.fails() {
				h.failing = true
				if known.since.After(h.since) {
					h.since = known.since
				}
			}
		}
		all[name] = h
	}
	return all
}

// failure is the last failure of an endpoint, in the words of the probe.
func (s *serviceState) failure(name string) string {
	for _, target := range s.byEndpoint[name] {
		if known := s.targets[target]; known.fails() && known.message != "" {
			return known.message
		}
	}
	return ""
}
