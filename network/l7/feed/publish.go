package feed

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
	"fairlead.dev/fairlead/network/lb"
)

// publish makes a table of all entries and has the engine serve it. The endpoints that it needs are there before; those that it
// needs no more stay a while, for requests that have begun with the table before.
func (f *Feed) publish() {
	t := &route.Table{Entries: map[route.Point]*route.Entry{}}
	if f.refs.Len() > 0 && f.cfg.Ports.HTTP != 0 {
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
	more, less := f.needed.update(t)
	for _, key := range more {
		if f.used[key.Service] == nil {
			f.used[key.Service] = map[upstream.Key]struct{}{}
		}
		f.used[key.Service][key] = struct{}{}
		delete(f.leaving, key)
		f.touched.add(itemService, key.Service)
		f.tell(key)
	}
	f.table.Store(t)
	f.engine.Serve(t)
	for _, s := range f.cfg.Sources {
		if s.Served != nil {
			s.Served()
		}
	}
	for _, key := range less {
		if delete(f.used[key.Service], key); len(f.used[key.Service]) == 0 {
			delete(f.used, key.Service)
		}
		f.touched.add(itemService, key.Service)
		f.leaving[key] = time.Now()
	}
	f.want()
}

// forget takes away the endpoints that nobody has needed for a while.
func (f *Feed) forget() {
	for key, since := range f.leaving {
		if time.Since(since) >= retryEvery {
			delete(f.leaving, key)
			f.set(key, nil)
		}
	}
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
