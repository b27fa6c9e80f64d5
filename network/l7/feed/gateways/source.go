// Package gateways has a node's engine serve Gateways: it is a Source of
// package feed. It watches the objects of Gateway API from when there is a
// Service that stands for a Gateway, and not before.
package gateways

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/network/l7/feed"
	"fairlead.dev/fairlead/network/l7/gateway"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/gateways"
	"fairlead.dev/fairlead/network/world/secrets"
)

// Source contributes the entries of Gateways. Make it with New.
type Source struct {
	changed chan struct{} // capacity 1
	ready   chan struct{}
	woken   chan struct{}
	used    func()               // once there is a Service of a Gateway
	live    atomic.Pointer[live] // nil: the objects are not known yet

	// Of the goroutine that derives.
	memory gateway.Memory
	wanted []types.NamespacedName // ConfigMaps
	kept   *Saved                 // what the last derivation was made of, or was restored; nil: nothing
	latest announce.Serving       // what it comes to

	serving atomic.Pointer[announce.Serving] // what the engine serves; nil: nothing yet
}

// live is what is watched.
type live struct {
	objects    *gateways.Gateways
	configMaps *secrets.ConfigMaps
}

// Saved is what a derivation is made of, besides Services and Secrets.
type Saved struct {
	View       gateway.View                 `json:"view"`
	Namespaces map[string]map[string]string `json:"namespaces,omitempty"` // labels
	ConfigMaps []*corev1.ConfigMap          `json:"configMaps,omitempty"`
}

// New returns a Source that knows nothing yet.
func New() *Source {
	s := &Source{changed: make(chan struct{}, 1), ready: make(chan struct{}), woken: make(chan struct{})}
	s.used = sync.OnceFunc(func() { close(s.woken) })
	return s
}

// Feed is the Source as a Feed takes it.
func (s *Source) Feed() feed.Source {
	return feed.Source{Name: "gateways", Derive: s.derive, See: s.see, Changed: s.changed, Ready: s.ready, Save: s.save, Restore: s.restore, Served: s.served}
}

// Run watches objects, once there is something to watch, and the ConfigMaps that they name, until ctx is done.
func (s *Source) Run(ctx context.Context, objects *gateways.Gateways, configMaps *secrets.ConfigMaps, w *world.World) error {
	select {
	case <-w.Synced():
	case <-ctx.Done():
		return nil
	}
	asleep := !anyGateway(w)
	if asleep {
		close(s.ready)
		select {
		case <-s.woken:
		case <-ctx.Done():
			return nil
		}
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { objects.Run(ctx) })
	if !objects.Await(ctx) {
		return nil
	}
	all.Go(func() { _ = configMaps.Run(ctx) }) // ends with ctx, without an error
	s.live.Store(&live{objects, configMaps})
	if !asleep {
		close(s.ready)
	}
	namespaces := w.Subscribe(world.Namespaces)
	defer namespaces.Close()
	for {
		s.tell()
		select {
		case <-objects.Changed():
		case <-configMaps.Changed():
		case <-namespaces.Wake():
			namespaces.Take()
		case <-ctx.Done():
			return nil
		}
	}
}

// served notes that the engine serves what was derived last.
func (s *Source) served() {
	latest := s.latest
	s.serving.Store(&latest)
}

// ServeHTTP answers at announce.GatewaysPath.
func (s *Source) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var serving announce.Serving
	if now := s.serving.Load(); now != nil {
		serving = *now
	}
	_ = json.NewEncoder(w).Encode(serving) // whoever asked may have gone
}

func (s *Source) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// see looks for a Service that stands for a Gateway.
func (s *Source) see(svc *corev1.Service) {
	if ofGateway(svc) {
		s.used()
	}
}

// derive is what a Feed calls.
func (s *Source) derive(w *world.World, secret func(types.NamespacedName) *corev1.Secret) (map[route.Point]*route.Entry, []types.NamespacedName) {
	v, l := s.view(w)
	if v == nil {
		return nil, nil
	}
	v.Service = func(n types.NamespacedName) *corev1.Service { svc, _ := w.Service(n); return svc }
	v.Secret = secret
	result := gateway.Derive(v, &s.memory)
	if s.latest = nil; l != nil { // what was kept of an earlier life says nothing of what there is now
		s.latest = result.Serving()
	}
	entries := make(map[route.Point]*route.Entry, 2*len(result.Entries))
	for at, e := range result.Entries {
		entries[at] = e
		local := *e // its endpoints are those of other Services: what its own traffic policy says is not about them
		local.Local = true
		entries[local.Point] = &local
	}
	named, configMaps := reads(result)
	if l != nil {
		if !slices.Equal(configMaps, s.wanted) {
			l.configMaps.Want(configMaps)
			s.wanted = configMaps
		}
		s.kept = keep(v, configMaps)
	}
	return entries, named
}

// view is what is known of the objects; nil: nothing. l is what is watched, nil while what was restored is served.
func (s *Source) view(w *world.World) (v *gateway.View, l *live) {
	if l = s.live.Load(); l != nil {
		v = &gateway.View{Namespace: w.NamespaceLabels, ConfigMap: l.configMap}
		l.objects.Fill(v)
		return v, l
	}
	if s.kept == nil {
		return nil, nil
	}
	again := s.kept.View
	again.Namespace = func(name string) map[string]string { return s.kept.Namespaces[name] }
	again.ConfigMap = s.kept.configMap
	return &again, nil
}

func (l *live) configMap(name types.NamespacedName) *corev1.ConfigMap {
	m, _ := l.configMaps.Get(name)
	return m
}

func (s *Saved) configMap(name types.NamespacedName) *corev1.ConfigMap {
	for _, m := range s.ConfigMaps {
		if api.Name(m) == name {
			return m
		}
	}
	return nil
}

// anyGateway reports whether a Service stands for a Gateway.
func anyGateway(w *world.World) bool {
	for _, name := range w.Services() {
		if svc, _ := w.Service(name); svc != nil && ofGateway(svc) {
			return true
		}
	}
	return false
}

func ofGateway(svc *corev1.Service) bool {
	return svc.Labels[api.LabelGatewayName] != "" && svc.Annotations[api.AnnotationL7] == api.L7Gateway
}

// reads are the Secrets and ConfigMaps that Gateways are served with.
func reads(result *gateway.Result) (secrets, configMaps []types.NamespacedName) {
	for _, g := range result.Gateways {
		for _, r := range g.Reads() {
			if r.Resource == "secrets" {
				secrets = append(secrets, r.Name)
			} else {
				configMaps = append(configMaps, r.Name)
			}
		}
	}
	slices.SortFunc(configMaps, api.CompareNames)
	return secrets, slices.Compact(configMaps)
}

// keep is what a derivation was made of.
func keep(v *gateway.View, configMaps []types.NamespacedName) *Saved {
	k := &Saved{View: *v, Namespaces: map[string]map[string]string{}}
	for namespace := range v.Namespaces() {
		k.Namespaces[namespace] = v.Namespace(namespace)
	}
	for _, name := range configMaps {
		if m := v.ConfigMap(name); m != nil {
			k.ConfigMaps = append(k.ConfigMaps, m)
		}
	}
	return k
}

func (s *Source) save() any {
	if s.kept == nil {
		return nil
	}
	return s.kept
}

func (s *Source) restore(raw json.RawMessage) error {
	var kept *Saved
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	s.kept = kept
	return nil
}
