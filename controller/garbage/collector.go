package garbage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/kube"
)

const (
	workers = 4
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = time.Minute
	// rediscover is how often the list of served resources is read again without a
	// reason; a changed custom resource definition is one.
	rediscover = 30 * time.Second
)

// Customs tells which resources nobody uses. They are not watched: a watch would have the API server keep what serves them, which
// is megabytes for a custom one, and a cache for any. The zero value has all of them watched.
type Customs struct {
	Unused  func(context.Context, schema.GroupResource) (bool, error)
	OnWrite func(func(schema.GroupResource))
}

// Collector is the garbage collector and the namespace controller.
type Collector struct {
	client     kubernetes.Interface
	metadata   metadata.Interface
	caPEM      string
	log        *slog.Logger
	syncErrors prometheus.Counter // of discovery

	namespaces     cache.SharedIndexInformer
	resources      *resources
	objects        *kube.Queue[item]
	namespaceQueue *kube.Queue[string] // by name

	customs     Customs
	discovering sync.Mutex    // one discovery at a time
	defined     chan struct{} // a custom resource definition changed; holds one notice
}

// sharedKinds are the resources other controllers watch anyway: their informers
// serve here too. All others are watched by metadata only.
func sharedKinds(shared informers.SharedInformerFactory) []*resource {
	core, apps, discovery := shared.Core().V1(), shared.Apps().V1(), shared.Discovery().V1()
	return []*resource{
		{gvr: gvr("", "v1", "namespaces"), kind: kind("", "Namespace"), informer: core.Namespaces().Informer()},
		{gvr: gvr("", "v1", "nodes"), kind: kind("", "Node"), informer: core.Nodes().Informer()},
		{gvr: gvr("", "v1", "pods"), kind: kind("", "Pod"), namespaced: true, informer: core.Pods().Informer()},
		{gvr: gvr("", "v1", "services"), kind: kind("", "Service"), namespaced: true, informer: core.Services().Informer()},
		{gvr: gvr("", "v1", "endpoints"), kind: kind("", "Endpoints"), namespaced: true, informer: core.Endpoints().Informer()},
		{gvr: gvr("apps", "v1", "deployments"), kind: kind("apps", "Deployment"), namespaced: true, informer: apps.Deployments().Informer()},
		{gvr: gvr("apps", "v1", "replicasets"), kind: kind("apps", "ReplicaSet"), namespaced: true, informer: apps.ReplicaSets().Informer()},
		{gvr: gvr("discovery.k8s.io", "v1", "endpointslices"), kind: kind("discovery.k8s.io", "EndpointSlice"), namespaced: true,
			informer: discovery.EndpointSlices().Informer()},
		{gvr: gvr("coordination.k8s.io", "v1", "leases"), kind: kind("coordination.k8s.io", "Lease"), namespaced: true,
			informer: shared.Coordination().V1().Leases().Informer()},
	}
}

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

func kind(group, kind string) schema.GroupKind { return schema.GroupKind{Group: group, Kind: kind} }

// New returns a Collector. It registers with the shared informers, which the
// caller starts, and starts nothing itself. caPEM is published to every namespace
// as ConfigMap kube-root-ca.crt. What the Collector counts is registered with metrics, unless that is nil.
func New(cfg *rest.Config, shared informers.SharedInformerFactory, caPEM []byte, customs Customs, metrics prometheus.Registerer, log *slog.Logger) (*Collector, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	c := &Collector{
		client: client, metadata: meta, caPEM: string(caPEM), log: log,
		syncErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "garbagecollector_controller_resources_sync_error_total",
			Help: "How often it was not known completely which resources are served."}),
		namespaces:     shared.Core().V1().Namespaces().Informer(),
		resources:      newResources(),
		objects:        kube.NewQueue[item]("garbage", lastRetry, log),
		namespaceQueue: kube.NewQueue[string]("namespace", lastRetry, log),
		defined:        make(chan struct{}, 1),
		customs:        customs,
	}
	if customs.OnWrite != nil {
		customs.OnWrite(c.written)
	}
	if metrics != nil {
		metrics.MustRegister(c.syncErrors)
	}
	for _, r := range sharedKinds(shared) {
		r.collection = true
		if err := c.watch(r); err != nil {
			return nil, err
		}
		c.resources.add(r)
	}
	kube.Watch(c.namespaces, func(_, ns *corev1.Namespace, _ bool) {
		if ns != nil {
			c.namespaceQueue.Add(ns.Name)
		}
	})
	return c, nil
}

// Run collects until ctx is done.
func (c *Collector) Run(ctx context.Context) error {
	for !c.discover(ctx) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	for _, r := range c.resources.all() {
		if r.informer != nil && !cache.WaitFor(ctx, "", r.informer.HasSyncedChecker()) {
			return nil
		}
	}
	var queues sync.WaitGroup
	queues.Go(func() { c.objects.Work(ctx, workers, c.process) })
	queues.Go(func() { c.namespaceQueue.Work(ctx, workers, c.syncNamespace) })
	tick := time.NewTicker(rediscover)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			c.discover(ctx)
		case <-c.defined:
			c.discover(ctx)
		}
	}
	queues.Wait()
	return nil
}

// discover reads the served resources, starts watching new ones and stops watching
// those that vanished. It reports whether discovery answered completely.
func (c *Collector) discover(ctx context.Context) bool {
	c.discovering.Lock()
	defer c.discovering.Unlock()
	lists, err := c.client.Discovery().ServerPreferredResources()
	if err != nil && ctx.Err() == nil {
		c.log.Warn("discovery", "err", err)
		c.syncErrors.Inc()
	}
	found := map[schema.GroupResource]bool{}
	for _, list := range lists {
		gv, perr := schema.ParseGroupVersion(list.GroupVersion)
		if perr != nil {
			continue
		}
		for i := range list.APIResources {
			if r := served(gv, &list.APIResources[i]); r != nil {
				found[r.gvr.GroupResource()] = true
				c.start(ctx, r)
			}
		}
	}
	if err != nil {
		return false
	}
	for _, r := range c.resources.all() {
		if found[r.gvr.GroupResource()] {
			continue
		}
		if r.stop != nil {
			r.stop()
		}
		if r.stop != nil || r.idle {
			c.resources.remove(r)
		}
	}
	return true
}

// served turns a discovery entry into a resource, nil if it cannot be collected.
func served(gv schema.GroupVersion, api *metav1.APIResource) *resource {
	verbs := map[string]bool{}
	for _, v := range api.Verbs {
		verbs[v] = true
	}
	if !verbs["list"] || !verbs["delete"] || !verbs["watch"] {
		return nil
	}
	return &resource{
		gvr: gv.WithResource(api.Name), kind: schema.GroupKind{Group: gv.Group, Kind: api.Kind},
		namespaced: api.Namespaced, collection: verbs["deletecollection"],
	}
}

// start begins to watch a resource that is new. Events are not watched: they own
// nothing and nothing owns them.
func (c *Collector) start(ctx context.Context, r *resource) {
	if old := c.resources.get(r.gvr.GroupResource()); old != nil && !old.idle {
		return
	}
	if r.idle = c.unused(ctx, r.gvr.GroupResource()); r.idle || r.kind.Kind == "Event" {
		c.resources.add(r)
		return
	}
	informer := metadatainformer.NewFilteredMetadataInformer(c.metadata, r.gvr, corev1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(ownershipOnly); err != nil {
		c.log.Error("BUG", "err", err)
	}
	r.informer = informer
	if err := c.watch(r); err != nil {
		c.log.Error("BUG", "err", err)
		return
	}
	c.resources.add(r)
	ctx, r.stop = context.WithCancel(ctx)
	go informer.RunWithContext(ctx)
}

// unused reports whether a resource has no objects, as far as that is known.
func (c *Collector) unused(ctx context.Context, resource schema.GroupResource) bool {
	if c.customs.Unused == nil {
		return false
	}
	unused, err := c.customs.Unused(ctx, resource)
	if err != nil && ctx.Err() == nil {
		c.log.Warn("it is not known whether there are objects", "resource", resource, "err", err)
	}
	return unused && err == nil
}

// written has a resource watched from its first object on.
func (c *Collector) written(resource schema.GroupResource) {
	if r := c.resources.get(resource); r == nil || r.idle {
		select {
		case c.defined <- struct{}{}:
		default:
		}
	}
}

// ownershipOnly drops the metadata nobody here reads.
func ownershipOnly(obj any) (any, error) {
	if m, ok := obj.(*metav1.PartialObjectMetadata); ok {
		m.ManagedFields, m.Annotations, m.Labels = nil, nil, nil
	}
	return obj, nil
}
