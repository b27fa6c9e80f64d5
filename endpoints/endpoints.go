package endpoints

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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

	selectors  selectors
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
	return &Controller{
		client:    client,
		log:       log,
		services:  informers.Core().V1().Services().Informer(),
		pods:      informers.Core().V1().Pods().Informer(),
		nodes:     informers.Core().V1().Nodes().Informer(),
		endpoints: informers.Core().V1().Endpoints().Informer(),
		slices:    informers.Discovery().V1().EndpointSlices().Informer(),
	}
}

// Run works until ctx is done. It returns an error only when it cannot begin.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.addIndexes(); err != nil {
		return fmt.Errorf("endpoints: index the caches: %w", err)
	}
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

// Names of the indexes that the controller adds to the shared caches.
const (
	podsByLabel     = "endpoints/pods-by-label"
	podsByNode      = "endpoints/pods-by-node"
	slicesByService = "endpoints/slices-by-service"
	indexSeparator  = "\x00" // is in no name, label key or label value
)

// addIndexes lets the caches answer "which pods have this label", "which pods are on this node"
// and "which slices does this controller keep for this Service" without a scan.
func (c *Controller) addIndexes() error {
	if _, again := c.pods.GetIndexer().GetIndexers()[podsByLabel]; again {
		return nil
	}
	err := c.pods.AddIndexers(cache.Indexers{
		podsByLabel: func(obj any) ([]string, error) {
			pod := obj.(*corev1.Pod)
			values := make([]string, 0, len(pod.Labels))
			for key, value := range pod.Labels {
				values = append(values, labelValue(pod.Namespace, key, value))
			}
			return values, nil
		},
		podsByNode: func(obj any) ([]string, error) {
			return []string{obj.(*corev1.Pod).Spec.NodeName}, nil
		},
	})
	if err != nil {
		return err
	}
	return c.slices.AddIndexers(cache.Indexers{
		slicesByService: func(obj any) ([]string, error) {
			slice := obj.(*discoveryv1.EndpointSlice)
			return []string{sliceValue(slice.Labels[discoveryv1.LabelManagedBy], serviceOf(slice))}, nil
		},
	})
}
