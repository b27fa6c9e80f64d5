package entry

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// Entries are the addresses of the Services that go through the engine. They are safe for concurrent use. Make them with New.
type Entries struct {
	mu       sync.RWMutex
	services map[types.NamespacedName]*service
	owners   *lb.Claims
	nodes    []lb.Node      // this node, in each IP family
	pods     []netip.Prefix // of this node
}

// service is one that goes through the engine.
type service struct {
	frontends map[lb.Address]place // of both IP families
}

// place is what an address of a Service leads to.
type place struct {
	route.Point
	shortcut bool // clients of this node are not held to the policy
}

// New returns no Entries yet.
func New() *Entries {
	return &Entries{services: map[types.NamespacedName]*service{}, owners: lb.NewClaims(0)}
}

// Through reports whether a Service goes through the engine.
func Through(svc *corev1.Service) bool {
	if svc == nil {
		return false
	}
	how := svc.Annotations[api.AnnotationL7]
	return how == api.L7HTTP || how == api.L7Gateway
}

// Node says what this node is from now on, in each IP family, and where its pods are. Services that were put before are as they
// were: they have to be put again if anything of it has changed.
func (e *Entries) Node(nodes []lb.Node, pods []netip.Prefix) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes, e.pods = slices.Clone(nodes), pods
	for i := range e.nodes {
		e.nodes[i].Engine = netip.AddrPort{} // the policies of an http Service are to be seen
	}
}

// Known reports whether it was said what this node is.
func (e *Entries) Known() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(e.nodes) > 0
}

// Put makes a Service's addresses those of the object, nil or one that does not go through the engine for none.
func (e *Entries) Put(name types.NamespacedName, svc *corev1.Service) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.services[name]; old != nil {
		e.owners.Put(&lb.Rows{Service: name})
		delete(e.services, name)
	}
	if !Through(svc) {
		return
	}
	s := &service{frontends: map[lb.Address]place{}}
	all := lb.Rows{Service: name, Created: svc.CreationTimestamp.Time}
	for _, node := range e.nodes {
		rows := lb.Derive(svc, nil, node)
		for i := range rows.Frontends {
			f := &rows.Frontends[i]
			at := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == f.Port })
			s.frontends[f.Address()] = place{shortcut: f.Shortcut,
				Point: route.Point{Service: name, Port: uint16(svc.Spec.Ports[at].Port), Local: f.Scope == lb.Local}}
		}
		all.Frontends = append(all.Frontends, rows.Frontends...)
	}
	e.services[name] = s
	e.owners.Put(&all)
}

// Point is where an accepted connection came in. It is an l7.PointOf; the error says why the connection leads nowhere.
func (e *Entries) Point(fd int) (route.Point, error) {
	meant, client, err := original(fd)
	if err != nil {
		return route.Point{}, err
	}
	p, known := e.find(meant, client)
	if !known {
		return p, fmt.Errorf("%s is no address of a Service that goes through the engine", meant)
	}
	return p, nil
}

// find is the Point of a client's connection to an address.
func (e *Entries) find(meant netip.AddrPort, client netip.Addr) (p route.Point, known bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	at := lb.Address{Addr: meant, Proto: lb.TCP}
	owner, known := e.owners.Owner(at)
	if !known {
		return p, false
	}
	to := e.services[owner].frontends[at]
	if to.Local && to.shortcut && e.isHere(client) { // P36, P38, P41, P42
		to.Local = false
	}
	return to.Point, true
}

// isHere reports whether an address is this node's, or that of a pod on it.
func (e *Entries) isHere(client netip.Addr) bool {
	return slices.ContainsFunc(e.pods, func(r netip.Prefix) bool { return r.Contains(client) }) ||
		slices.ContainsFunc(e.nodes, func(n lb.Node) bool { return slices.Contains(n.Addrs, client) })
}

// Services are the names of those that go through the engine, sorted.
func (e *Entries) Services() []types.NamespacedName {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(e.services), api.CompareNames)
}
