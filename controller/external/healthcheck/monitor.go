package healthcheck

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/probe"
)

const (
	// MaxInFlight is how many probes are under way at once, if who makes them keeps to it. When more are due they become late,
	// the longest waiting first.
	MaxInFlight = 128
	// MaxPerService is how many of them are for one Service, so that one with thousands of dead addresses makes no other late.
	MaxPerService = MaxInFlight / 4
	// spread is how far apart first probes begin on average, so that a thousand addresses are no thousand connections at once.
	spread = 5 * time.Millisecond
	// avoidFor is how long a node is avoided that could not be asked.
	avoidFor = 10 * time.Second
	// writeInterval is how often the objects of one Service are written at most. Failures that come together are written
	// together, and another program that keeps putting an address back is no fight at full speed.
	writeInterval = 200 * time.Millisecond
)

// Monitor is what is known of all Services that are probed. One goroutine at a time may use it.
type Monitor struct {
	// Jitter returns a random duration from 0 up to one below its argument.
	Jitter func(time.Duration) time.Duration
	// Changed is told the Service of which a target has begun to fail or to answer: it is to be observed again.
	Changed func(types.NamespacedName)
	// Assigned is told when another node than before probes a Service; before is empty at first.
	Assigned func(svc types.NamespacedName, node, before string)

	services map[types.NamespacedName]*serviceState
	queue    queue
	nodes    map[string]*corev1.Node // those that are Ready
	avoided  map[string]time.Time    // nodes that could not be asked, and until when they are avoided
}

// NewMonitor returns a Monitor that knows nothing. Its functions are the caller's to set.
func NewMonitor() *Monitor {
	return &Monitor{services: map[types.NamespacedName]*serviceState{}, nodes: map[string]*corev1.Node{}, avoided: map[string]time.Time{}}
}

// SetNode takes in what a node is now. Only from one that is Ready, so that pods could run there, does traffic say something
// about that of the cluster.
func (m *Monitor) SetNode(n *corev1.Node) {
	if api.NodeReady(n) && n.DeletionTimestamp == nil {
		m.nodes[n.Name] = n
	} else {
		delete(m.nodes, n.Name)
	}
}

// RemoveNode forgets a node.
func (m *Monitor) RemoveNode(name string) { delete(m.nodes, name) }

// Verdict is what one look at a Service demands: to write its objects and then to tell people, or to look again after Wait.
type Verdict struct {
	Writes Writes
	Events []Event
	Wait   time.Duration // 0: do not wait
}

// Observe takes in what is true about a Service, schedules probes of endpoints that are new, and says what is to be done.
func (m *Monitor) Observe(key types.NamespacedName, v View, now time.Time) Verdict {
	svc := v.Service
	if svc == nil || len(svc.Spec.Selector) > 0 || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.DeletionTimestamp != nil {
		delete(m.services, key)
		return Verdict{}
	}
	if _, probed := svc.Annotations[api.AnnotationProbe]; !probed {
		delete(m.services, key)
		return Verdict{Writes: rewrite(v, nil)} // everything that was ejected comes back
	}
	state := m.services[key]
	if state == nil {
		state = newServiceState()
		m.services[key] = state
	}
	endpoints := v.List()
	wanted, err := understand(svc, endpoints)
	if err != nil {
		state.spec = nil
		return Verdict{Events: state.invalid(err)}
	}
	state.problem = ""
	state.configure(wanted, annotationsOf(svc))
	state.list(endpoints, svc, now)
	m.scheduleFirst(key, state, now)
	return state.judge(v, endpoints, now)
}

// judge plans the writes of a Service whose spec is valid.
func (s *serviceState) judge(v View, endpoints []Endpoint, now time.Time) Verdict {
	eject, kept := ejections(endpoints, s.health(), s.spec.minHealthy)
	w := rewrite(v, eject)
	if left := s.written.Add(writeInterval).Sub(now); left > 0 && !w.None() {
		return Verdict{Wait: left}
	}
	if !w.None() {
		s.written = now
	}
	events := changes(w, s, kept, v.Service.Annotations[api.AnnotationKeep])
	s.kept, s.ejected = kept, len(eject)
	return Verdict{Writes: w, Events: events}
}

// invalid tells once what is wrong with the annotations.
func (s *serviceState) invalid(err error) []Event {
	if s.problem == err.Error() {
		return nil
	}
	s.problem = err.Error()
	return []Event{{Type: corev1.EventTypeWarning, Reason: "InvalidProbe", Message: s.problem}}
}

// understand reads the spec of a Service.
func understand(svc *corev1.Service, endpoints []Endpoint) (*spec, error) {
	if api.Name(svc) == api.APIService {
		return nil, fmt.Errorf("annotation %s: Forbidden: the API server itself keeps the endpoints of this Service", api.AnnotationProbe)
	}
	s, err := parseSpec(svc.Annotations)
	if err != nil {
		return nil, err
	}
	return s, s.fits(endpoints, svc)
}

func annotationsOf(svc *corev1.Service) string {
	return svc.Annotations[api.AnnotationProbe] + "\x00" + svc.Annotations[api.AnnotationKeep]
}

// Stats are the sums over all Services.
type Stats struct {
	Services, Targets int // that are probed
	Ejected           int // endpoints that get no traffic, of those Services
	Deferred          int // probes that are due while too many of their Service are under way
}

// Stats counts what is known.
func (m *Monitor) Stats() Stats {
	all := Stats{Services: len(m.services)}
	for _, s := range m.services {
		for _, known := range s.targets {
			if known.unlisted.IsZero() && s.spec != nil {
				all.Targets++
			}
		}
		all.Ejected += s.ejected
		all.Deferred += len(s.deferred)
	}
	return all
}

// avoid are the nodes that could not be asked lately.
func (m *Monitor) avoid(now time.Time) map[string]bool {
	maps.DeleteFunc(m.avoided, func(_ string, until time.Time) bool { return now.After(until) })
	names := make(map[string]bool, len(m.avoided))
	for name := range m.avoided {
		names[name] = true
	}
	return names
}

// prober is the node that probes a Service now, nil when there is none.
func (m *Monitor) prober(key types.NamespacedName, s *serviceState, now time.Time) *corev1.Node {
	name := chooseProber(key, s.prober, m.nodes, m.avoid(now))
	if name != s.prober {
		m.Assigned(key, name, s.prober)
		s.prober = name
	}
	return m.nodes[name]
}

// second is a node that can confirm what a first one says; nil when there is none that answers.
func (m *Monitor) second(key types.NamespacedName, first string, now time.Time) *corev1.Node {
	others := maps.Clone(m.nodes)
	delete(others, first)
	for name := range m.avoid(now) {
		delete(others, name)
	}
	return others[chooseProber(key, "", others, nil)]
}

// Try is one probe that is to be made now, by Node.
type Try struct {
	Service types.NamespacedName
	Node    *corev1.Node
	Request probe.Request

	scheduled
	of *serviceState
}
