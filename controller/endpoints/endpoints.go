package endpoints

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/kube"
)

// workers is how many Services each loop works on at a time. A worker spends nearly all its time
// waiting for the API, which commits parallel writes together.
const workers = 16

// Controller keeps the Endpoints and EndpointSlices of all Services in agreement with their pods,
// and mirrors Endpoints written by hand into EndpointSlices.
type Controller struct {
	client  kubernetes.Interface
	log     *slog.Logger
	events  record.EventRecorder // set by Run
	metrics *metrics

	// The caches. Objects in them are shared and never mutated.
	services  cache.SharedIndexInformer
	pods      cache.SharedIndexInformer
	nodes     cache.SharedIndexInformer
	endpoints cache.SharedIndexInformer
	slices    cache.SharedIndexInformer
	listed    []cache.DoneChecker

	selectors  Selectors
	topologies sync.Map // types.NamespacedName -> plan.Topology: what the events of a Service said last

	slicesLoop    *loop[*discoveryv1.EndpointSlice] // Services and pods -> EndpointSlices
	endpointsLoop *loop[*corev1.Endpoints]          // Services and pods -> Endpoints
	mirrorLoop    *loop[*discoveryv1.EndpointSlice] // Services and Endpoints written by hand -> EndpointSlices
}

// New returns a controller that reads from the informers of a shared factory, which the caller
// starts after New and before or after Run, and writes with client. The client should not be rate
// limited: its default of five requests a second would be the slowest part of the cluster. What it
// counts is registered with registry; nil for nowhere.
func New(client kubernetes.Interface, informers informers.SharedInformerFactory, registry prometheus.Registerer, log *slog.Logger) *Controller {
	c := &Controller{
		client:    client,
		log:       log,
		metrics:   newMetrics(),
		services:  informers.Core().V1().Services().Informer(),
		pods:      informers.Core().V1().Pods().Informer(),
		nodes:     informers.Core().V1().Nodes().Informer(),
		endpoints: informers.Core().V1().Endpoints().Informer(),
		slices:    informers.Discovery().V1().EndpointSlices().Informer(),

		slicesLoop:    newLoop[*discoveryv1.EndpointSlice]("endpoint_slice", lastRetry, log),
		endpointsLoop: newLoop[*corev1.Endpoints]("endpoint", lastRetry, log),
		mirrorLoop:    newLoop[*discoveryv1.EndpointSlice]("endpoint_slice_mirroring", lastMirrorRetry, log),
	}
	c.endpointsLoop.own.Edits = true
	c.metrics.register(registry)
	if err := Index(c.pods, c.slices); err != nil {
		panic(fmt.Sprintf("BUG: endpoints: %v", err)) // the informers were started before New
	}
	c.listed = c.watch()
	return c
}

// Run works until ctx is done. It waits for the first lists, so nothing is decided on a partial picture.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "endpoints"})
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	var loops sync.WaitGroup
	loops.Go(func() { c.slicesLoop.run(ctx, c.syncSlices) })
	loops.Go(func() { c.endpointsLoop.run(ctx, c.syncEndpoints) })
	loops.Go(func() { c.mirrorLoop.run(ctx, c.syncMirror) })
	loops.Wait()
	return nil
}
