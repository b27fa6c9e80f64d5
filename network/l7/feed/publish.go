package feed

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
	"fairlead.dev/fairlead/network/lb"
)

// publish makes a table of all entries and has the engine serve it. The endpoints that it needs are there before, and those that it
// needs no more go after.
func (f *Feed) publish() {
	t := &route.Table{Entries: map[route.Point]*route.Entry{}}
	if len(f.refs) > 0 && f.cfg.Ports.HTTP != 0 {
		plain, secure := f.builder.Entries()
		t.Entries[plain.Point], t.Entries[secure.Point] = plain, secure
	}
	for _, entries := range f.through {
		for _, e := range entries {
			t.Entries[e.Point] = e
		}
	}
	for _, s := range f.sources {
		for point, e := range s.entries {
			t.Entries[point] = e
		}
	}
	next := needs(t)
	for _, name := range names(next) {
		for key := range next[name] {
			if _, told := f.used[name][key]; !told {
				f.tell(key)
			}
		}
	}
	before := f.used
	f.used = next
	f.table.Store(t)
	f.engine.Serve(t)
	for name, keys := range before {
		for key := range keys {
			if _, still := next[name][key]; !still {
				f.set(key, nil)
			}
		}
	}
	f.want()
}

// want names the Secrets that are served with.
func (f *Feed) want() {
	var all []types.NamespacedName
	for _, names := range f.refs {
		all = append(all, names...)
	}
	for _, s := range f.sources {
		all = append(all, s.secrets...)
	}
	slices.SortFunc(all, api.CompareNames)
	all = slices.Compact(all)
	if slices.Equal(all, f.wanted) {
		return
	}
	f.wanted = all
	if s := f.secrets.Load(); s != nil {
		s.Want(all)
	}
}

func names(of map[types.NamespacedName]map[upstream.Key]struct{}) []types.NamespacedName {
	all := make([]types.NamespacedName, 0, len(of))
	for name := range of {
		all = append(all, name)
	}
	return all
}

// tell tells the engine the endpoints of a Service's port.
func (f *Feed) tell(key upstream.Key) { f.set(key, f.endpoints(key)) }

func (f *Feed) set(key upstream.Key, backends []lb.Backend) {
	if key.Local {
		f.engine.LocalEndpoints(key.Service, key.Port, backends)
	} else {
		f.engine.Endpoints(key.Service, key.Port, backends)
	}
}

// endpoints are those of a Service's port that a new connection may go to now: in its first family of which it has any (P114).
func (f *Feed) endpoints(key upstream.Key) []lb.Backend {
	svc, endpointSlices := f.world.Load().Service(key.Service)
	if svc == nil {
		return nil
	}
	at := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		return p.Port == key.Port && api.Protocol(p.Protocol) == corev1.ProtocolTCP
	})
	if at < 0 {
		return nil
	}
	scope := lb.Cluster
	if key.Local {
		scope = lb.Local
	}
	nodes := f.nodes()
	for _, family := range api.Families(svc) {
		for _, node := range nodes {
			if node.IPv6 != (family == corev1.IPv6Protocol) {
				continue
			}
			if set := lb.Endpoints(svc, endpointSlices, &svc.Spec.Ports[at], scope, node); len(set.Backends) > 0 {
				return set.Backends
			}
		}
	}
	return nil
}

// needs are the pools that a table's backends are, by Service.
func needs(t *route.Table) map[types.NamespacedName]map[upstream.Key]struct{} {
	all := map[types.NamespacedName]map[upstream.Key]struct{}{}
	one := func(b *route.Backend) {
		if b.Service.Name == "" {
			return
		}
		if all[b.Service] == nil {
			all[b.Service] = map[upstream.Key]struct{}{}
		}
		all[b.Service][upstream.Key{Service: b.Service, Port: b.Port, Local: b.Local}] = struct{}{}
	}
	for _, e := range t.Entries {
		for _, l := range e.Listeners {
			for i := range l.Streams {
				for k := range l.Streams[i].Backends {
					one(&l.Streams[i].Backends[k])
				}
			}
			if l.Hosts == nil {
				continue
			}
			l.Hosts.Each(func(h *route.Host) bool {
				for _, r := range h.Rules {
					eachBackend(&r.Action, one)
				}
				return true
			})
		}
	}
	return all
}

// eachBackend calls f with every backend that an action may send something to.
func eachBackend(a *route.Action, f func(*route.Backend)) {
	for i := range a.Mirrors {
		f(&a.Mirrors[i].Backend)
	}
	for i := range a.Backends {
		b := &a.Backends[i]
		f(b)
		for k := range b.Mirrors {
			f(&b.Mirrors[k].Backend)
		}
	}
	if a.External != nil && a.External.Backend != nil {
		f(a.External.Backend)
	}
}
