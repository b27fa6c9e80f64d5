package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/kube"
)

// workers is how many Services are written at a time.
const workers = 4

// Controller keeps addresses outside of the cluster that fail their probe from being ready.
type Controller struct {
	client  kubernetes.Interface
	asker   Asker
	log     *slog.Logger
	metrics *metrics
	queue   *kube.Queue[types.NamespacedName]
	events  record.EventRecorder // set by Run

	// The caches. Objects in them are shared and never mutated.
	services, endpoints, slices cache.SharedIndexInformer
	listed                      []cache.DoneChecker

	wake   chan struct{} // the next probe may be due earlier than it was
	slots  chan struct{} // one for each probe under way
	probes sync.WaitGroup

	mu      sync.Mutex // guards below
	monitor *healthcheck.Monitor
}

// New returns a Controller over the shared informers, which the caller starts, that writes with client and has nodes probe
// by ask. What it counts is registered with metrics, unless that is nil. It starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, ask Asker, metrics prometheus.Registerer, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, asker: ask, log: log, metrics: newMetrics(),
		services:  shared.Core().V1().Services().Informer(),
		endpoints: shared.Core().V1().Endpoints().Informer(),
		slices:    shared.Discovery().V1().EndpointSlices().Informer(),
		queue:     kube.NewQueue[types.NamespacedName]("external", time.Minute, log),
		wake:      make(chan struct{}, 1), slots: make(chan struct{}, healthcheck.MaxInFlight),
		monitor: healthcheck.NewMonitor(),
	}
	c.monitor.Jitter, c.monitor.Changed = rand.N[time.Duration], c.queue.Add
	c.monitor.Assigned = func(svc types.NamespacedName, node, before string) {
		log.Info("external endpoints are probed from a node", "service", svc, "node", node, "before", before)
	}
	if err := Index(c.slices); err != nil {
		panic(fmt.Sprintf("BUG: external: %v", err)) // the informer was started before New
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(c.services, c.serviceChanged),
		kube.Watch(c.endpoints, func(old, now *corev1.Endpoints, _ bool) {
			for _, ep := range kube.Versions(old, now) {
				c.objectChanged(kube.Key(ep), annotated(ep))
			}
		}),
		kube.Watch(c.slices, func(old, now *discoveryv1.EndpointSlice, _ bool) {
			for _, slice := range kube.Versions(old, now) { // the label may have changed
				if api.ByHand(slice) {
					c.objectChanged(api.ServiceOf(slice), annotated(slice))
				}
			}
		}),
		kube.Watch(shared.Core().V1().Nodes().Informer(), c.nodeChanged),
	}
	c.register(metrics)
	return c
}

// Run probes until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	// Events about many addresses of one Service are not noise here: more of them pass than by default.
	broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{BurstSize: 100, QPS: 0.1}))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	c.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "external-endpoints"})

	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	var loops sync.WaitGroup
	loops.Go(func() { c.queue.Work(ctx, workers, c.sync) })
	loops.Go(func() { c.probe(ctx) })
	loops.Wait()
	c.probes.Wait()
	return nil
}

func (c *Controller) serviceChanged(old, now *corev1.Service, _ bool) {
	for _, svc := range kube.Versions(old, now) {
		if _, ok := svc.Annotations[api.AnnotationProbe]; ok {
			c.queue.Add(kube.Key(svc))
		}
	}
}

// objectChanged is called when Endpoints or a slice by hand have changed; marked tells that we have written on it.
func (c *Controller) objectChanged(key types.NamespacedName, marked bool) {
	svc, probed := kube.Cached[corev1.Service](c.services, key), false
	if svc != nil {
		_, probed = svc.Annotations[api.AnnotationProbe]
	}
	if probed || marked {
		c.queue.Add(key)
	}
}

func (c *Controller) nodeChanged(old, node *corev1.Node, _ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if node != nil {
		c.monitor.SetNode(node)
	} else {
		c.monitor.RemoveNode(old.Name)
	}
}
