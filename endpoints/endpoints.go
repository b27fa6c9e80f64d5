package endpoints

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// workers is how many Services each loop works on at a time. A worker spends nearly all its time
// waiting for the API, which commits parallel writes together.
const workers = 16

// Controller keeps the Endpoints and EndpointSlices of all Services in agreement with their pods,
// and mirrors Endpoints written by hand into EndpointSlices.
type Controller struct {
	client kubernetes.Interface
	log    *slog.Logger
	events record.EventRecorder

	// The caches. Objects in them are shared and never mutated.
	services  cache.SharedIndexInformer
	pods      cache.SharedIndexInformer
	nodes     cache.SharedIndexInformer
	endpoints cache.SharedIndexInformer
	slices    cache.SharedIndexInformer

	selectors  Selectors
	topologies sync.Map // types.NamespacedName -> topology: what the events of a Service said last
	edits      edits    // of Endpoints

	slicesLoop    *loop // Services and pods -> EndpointSlices
	endpointsLoop *loop // Services and pods -> Endpoints
	mirrorLoop    *loop // Services and Endpoints written by hand -> EndpointSlices
}

// New returns a controller that reads from the informers of a shared factory, which the caller
// starts after New and before or after Run, and writes with client. The client should not be rate
// limited: its default of five requests a second would be the slowest part of the cluster.
func New(client kubernetes.Interface, informers informers.SharedInformerFactory, log *slog.Logger) *Controller {
	c := &Controller{
		client:    client,
		log:       log,
		services:  informers.Core().V1().Services().Informer(),
		pods:      informers.Core().V1().Pods().Informer(),
		nodes:     informers.Core().V1().Nodes().Informer(),
		endpoints: informers.Core().V1().Endpoints().Informer(),
		slices:    informers.Discovery().V1().EndpointSlices().Informer(),
	}
	if err := Index(c.pods, c.slices); err != nil {
		panic(fmt.Sprintf("BUG: endpoints: %v", err)) // the informers were started before New
	}
	return c
}

// Run works until ctx is done. It returns an error only when it cannot begin.
func (c *Controller) Run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	c.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "endpoints"})

	c.slicesLoop = newLoop("endpointslices", workers, lastRetry, c.log, c.syncSlices)
	c.endpointsLoop = newLoop("endpoints", workers, lastRetry, c.log, c.syncEndpoints)
	c.mirrorLoop = newLoop("mirror", workers, lastMirrorRetry, c.log, c.syncMirror)

	stop, err := c.watch(ctx)
	defer stop()
	if err != nil {
		return err
	}

	var loops sync.WaitGroup
	for _, l := range []*loop{c.slicesLoop, c.endpointsLoop, c.mirrorLoop} {
		loops.Go(func() { l.run(ctx) })
	}
	loops.Wait()
	return nil
}
