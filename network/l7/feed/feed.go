package feed

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/entry"
	"fairlead.dev/fairlead/network/l7/ingress"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/service"
	"fairlead.dev/fairlead/network/l7/upstream"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/secrets"
)

// Config is what a Feed has to know of its node.
type Config struct {
	NodeName string
	NodeIPs  []netip.Addr
	Ports    ingress.Ports    // of the node, for Ingresses; zero: none
	Engine   []netip.AddrPort // where the node's rules send connections to Services
	File     string           // where what is served is kept; empty: nowhere
	// Tell tells people of the cluster, by an Event say, that a port is taken. It reports whether it could; nil: only the log is told.
	Tell func(message string) bool
	// Closed is told why a port of the node's for Ingresses is not open; "" when all are that have to be; nil: nobody is told. It
	// must not wait.
	Closed  func(why string)
	Sources []Source
}

// Feed feeds one engine. Make it with New, and give Certificate and Secret to the engine's Config.
type Feed struct {
	cfg     Config
	log     *slog.Logger
	engine  *l7.Engine
	entries *entry.Entries
	certs   certificates
	saved   atomic.Pointer[saved]   // nil: nothing of it is needed any more
	follows atomic.Pointer[Follows] // nil: there are only saved ones
	table   atomic.Pointer[route.Table]
	world   atomic.Pointer[world.World] // that the table was made of

	// Of the one goroutine that feeds.
	builder *ingress.Builder
	seen    map[types.NamespacedName]*corev1.Service
	through map[types.NamespacedName][]*route.Entry // by Service
	refs    *ingressrefs.Index                      // of the Ingresses that are served
	sources []contribution
	poked   chan struct{}
	used    map[types.NamespacedName]map[upstream.Key]struct{} // by Service: the pools that the table needs
	needed  needed
	leaving map[upstream.Key]time.Time // pools that it needs no more, and since when
	wanted  names
	place   place
	sockets sockets
	touched touched
	keeper  *keeper // nil: nothing is kept
}

// Follows are the followers of what is served with besides the World, which the caller runs.
type Follows struct {
	Secrets    *secrets.Secrets
	ConfigMaps *secrets.ConfigMaps
}

// names are those of what is served with.
type names struct{ secrets, configMaps []types.NamespacedName }

// place is where the node is, as far as endpoints care.
type place struct {
	zone string
	pods []netip.Prefix
}

// New returns a Feed that has served nothing yet. Its engine is made of the Config that it completes.
func New(cfg Config, engine l7.Config, log *slog.Logger) *Feed {
	f := &Feed{
		cfg: cfg, log: log, entries: entry.New(), seen: map[types.NamespacedName]*corev1.Service{},
		through: map[types.NamespacedName][]*route.Entry{}, refs: ingressrefs.NewIndex(),
		used: map[types.NamespacedName]map[upstream.Key]struct{}{}, needed: newNeeded(), leaving: map[upstream.Key]time.Time{}, sources: make([]contribution, len(cfg.Sources)),
		sockets: newSockets(), touched: touched{}, poked: make(chan struct{}, 1),
	}
	if cfg.File != "" {
		f.keeper = newKeeper(cfg.File, log)
	}
	engine.Secret, engine.Certificate = f.data, f.certificate
	f.engine = l7.New(engine, log)
	f.world.Store(world.New())
	f.table.Store(&route.Table{})
	f.builder = ingress.NewBuilder(ingress.World{
		Ingress:   func(n types.NamespacedName) *networkingv1.Ingress { return f.world.Load().Ingress(n) },
		Class:     func(n string) *networkingv1.IngressClass { return f.world.Load().IngressClass(n) },
		Service:   func(n types.NamespacedName) *corev1.Service { s, _ := f.world.Load().Service(n); return s },
		Secret:    f.secret,
		ConfigMap: f.configMap,
	}, cfg.Ports)
	f.look()
	return f
}

// Engine is the one that is fed.
func (f *Feed) Engine() *l7.Engine { return f.engine }

// kinds are those whose changes matter.
var kinds = []world.Kind{world.Services, world.Nodes, world.Ingresses, world.IngressClasses}

// Restore serves what was kept in the file, if there is any, and reports whether it does. It comes before Run.
func (f *Feed) Restore() bool {
	s := f.load()
	if s == nil {
		return false
	}
	f.saved.Store(s)
	f.restoreSources(s)
	f.world.Store(s.world)
	subscription := s.world.Subscribe(kinds...)
	defer subscription.Close()
	f.step(subscription.Take(), true, true, ingress.Changes{})
	f.listen()
	return true
}

const (
	// retryEvery is how often what failed is tried again.
	retryEvery = 2 * time.Second
	// secretsWithin is how long Secrets are waited for before what names them is served without.
	secretsWithin = 5 * time.Second
)

// Run serves what the World says from when it is complete, with the Secrets and ConfigMaps that it names, until ctx is done, which is not an error. The
// engine is then shut down: requests under way have a few seconds.
func (f *Feed) Run(ctx context.Context, w *world.World, follows Follows) error {
	defer f.Close()
	f.follows.Store(&follows)
	follows.want(f.wanted)
	if !f.awaitAll(ctx, w) { // nothing that was served before is taken away on the word of a part of the World
		return nil
	}
	f.followSources(ctx)
	gone := f.present()
	f.world.Store(w)
	subscription := w.Subscribe(kinds...)
	defer subscription.Close()
	f.step(subscription.Take(), true, true, gone)
	f.awaitSecrets(ctx)
	f.step(world.Changes{}, true, true, ingress.Changes{})
	f.listen()
	defer f.startKeeper()()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		changedSecrets, changedSources := false, false
		select {
		case <-ctx.Done():
			return nil
		case <-subscription.Wake():
		case <-follows.Secrets.Changed():
			changedSecrets = true
		case <-follows.ConfigMaps.Changed():
			changedSecrets = true
		case <-f.poked:
			changedSources = true
		case <-retry.C:
			f.listen()
			f.forget()
			continue
		}
		f.step(subscription.Take(), changedSecrets, changedSources, ingress.Changes{})
		f.listen()
	}
}

// startKeeper has what is served kept until stop is called, which returns when everything is.
func (f *Feed) startKeeper() (stop func()) {
	if f.keeper == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.keeper.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// awaitSecrets waits a moment until the Secrets and ConfigMaps that are named have been read, so that the first clients get the certificates.
func (f *Feed) awaitSecrets(ctx context.Context) {
	end := time.NewTimer(secretsWithin)
	defer end.Stop()
	for !f.allKnown() {
		select {
		case <-f.follows.Load().Secrets.Changed():
		case <-f.follows.Load().ConfigMaps.Changed():
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
	f.saved.Store(nil)
}

// present is all that the present World has, as changes.
func (f *Feed) present() ingress.Changes {
	w := f.world.Load()
	c := ingress.Changes{Services: w.Services()}
	for _, i := range w.Ingresses() {
		c.Ingresses = append(c.Ingresses, api.Name(i))
	}
	for _, class := range w.IngressClasses() {
		c.Classes = append(c.Classes, class.Name)
	}
	return c
}

// step takes in changes of the World, whether Secrets, ConfigMaps or Sources have changed, and objects that may have gone besides.
func (f *Feed) step(c world.Changes, changedSecrets, changedSources bool, also ingress.Changes) {
	w := f.world.Load()
	moved := f.look()
	services := slices.Concat(slices.Collect(maps.Keys(c.Of(world.Services))), also.Services)
	in := ingress.Changes{Ingresses: slices.Concat(slices.Collect(maps.Keys(c.Of(world.Ingresses))), also.Ingresses), Classes: also.Classes}
	for name := range c.Of(world.IngressClasses) {
		in.Classes = append(in.Classes, name.Name)
	}
	if changedSecrets {
		in.Secrets, in.ConfigMaps = f.wanted.secrets, f.wanted.configMaps
		f.touched.add(itemSecret, in.Secrets...)
		f.touched.add(itemConfigMap, in.ConfigMaps...)
	}
	again := false
	for _, name := range services {
		svc, _ := w.Service(name)
		if f.seen[name] == svc {
			continue // only its endpoints
		}
		in.Services = append(in.Services, name)
		again = f.put(name, svc) || again
	}
	concerned := f.builder.Update(in)
	ingresses := slices.Concat(in.Ingresses, concerned.Ingresses)
	again = f.refer(w, ingresses) || again
	if len(in.Services) > 0 || changedSecrets || changedSources {
		again = f.ask(w) || again
	}
	if concerned.Entries || again {
		f.publish()
	}
	if changedSecrets {
		f.seeAll()
	}
	if moved {
		services = slices.Collect(maps.Keys(f.used))
		f.touched.add(itemNode, types.NamespacedName{Name: f.cfg.NodeName})
	}
	for _, name := range services {
		for key := range f.used[name] {
			f.tell(key)
		}
	}
	f.touched.add(itemService, services...)
	f.touched.add(itemIngress, ingresses...)
	for _, class := range in.Classes {
		f.touched.add(itemClass, types.NamespacedName{Name: class})
	}
	f.keep()
}

// put notes a Service that has changed, and reports whether entries of its own may have.
func (f *Feed) put(name types.NamespacedName, svc *corev1.Service) bool {
	f.seen[name] = svc
	for i := range f.cfg.Sources {
		if see := f.cfg.Sources[i].See; see != nil && svc != nil {
			see(svc)
		}
	}
	_, was := f.through[name]
	if svc == nil {
		delete(f.seen, name)
	}
	if !was && !entry.Through(svc) {
		return false
	}
	f.entries.Put(name, svc)
	delete(f.through, name)
	if entry.Through(svc) {
		f.through[name] = service.Entries(svc)
	}
	return true
}

// refer notes what Ingresses name, and reports whether there was none that is served, or is none any more.
func (f *Feed) refer(w *world.World, ingresses []types.NamespacedName) bool {
	before := f.refs.Len()
	for _, name := range ingresses {
		ing := w.Ingress(name)
		if !f.builder.Served(name) {
			ing = nil
		}
		f.refs.Put(name, ing)
	}
	return (before == 0) != (f.refs.Len() == 0)
}

// look sees where the node is, and reports whether that is new.
func (f *Feed) look() bool {
	n, now := f.world.Load().Node(f.cfg.NodeName), place{}
	if n != nil {
		now = place{zone: n.Labels[corev1.LabelTopologyZone], pods: api.PodRanges(n)}
	}
	if now.zone == f.place.zone && slices.Equal(now.pods, f.place.pods) && f.entries.Known() {
		return false
	}
	f.place = now
	f.entries.Node(f.nodes(), now.pods)
	for name := range f.through {
		f.entries.Put(name, f.seen[name])
	}
	return true
}

// nodes are this node in each IP family that it has.
func (f *Feed) nodes() []lb.Node {
	var all []lb.Node
	for _, v6 := range []bool{false, true} {
		if slices.ContainsFunc(f.cfg.NodeIPs, func(a netip.Addr) bool { return a.Is6() == v6 }) {
			all = append(all, lb.Node{Name: f.cfg.NodeName, Zone: f.place.zone, Addrs: f.cfg.NodeIPs, IPv6: v6})
		}
	}
	return all
}

// Close ends the engine of a Feed that does not run: requests under way have a few seconds.
func (f *Feed) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := f.engine.Shutdown(ctx); err != nil {
		f.log.Info("requests were still under way at the end", "err", err)
	}
}
