package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// nodeIndex finds pods by the name of their node.
const nodeIndex = "fleet/node"

// Controller looks after the nodes.
type Controller struct {
	client kubernetes.Interface
	ranges []netip.Prefix
	log    *slog.Logger

	nodes, leases, pods cache.SharedIndexInformer
	listed              []cache.InformerSynced
	nodeQueue           workqueue.TypedRateLimitingInterface[string]
	podQueue            workqueue.TypedRateLimitingInterface[types.NamespacedName]
	dnsQueue            workqueue.TypedRateLimitingInterface[string] // of one key, the empty one
	events              record.EventRecorder                         // set by Run

	mu       sync.Mutex                   // guards below
	heard    map[string]time.Time         // by node: when its agent was last heard of, by our clock
	turned   map[string]bool              // nodes that stopped being ready and whose pods do not know yet
	given    map[types.UID][]netip.Prefix // ranges given out that the cache does not show yet
	homeless map[types.UID]time.Time      // pods whose node does not exist: since when
}

// New returns a Controller over the shared informers, which the caller starts.
// podCIDRs are the ranges all nodes' ranges are cut from, the primary family
// first. It starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, podCIDRs []netip.Prefix, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, ranges: podCIDRs, log: log,
		nodes:     shared.Core().V1().Nodes().Informer(),
		leases:    shared.Coordination().V1().Leases().Informer(),
		pods:      shared.Core().V1().Pods().Informer(),
		nodeQueue: newQueue[string]("fleet-node"),
		podQueue:  newQueue[types.NamespacedName]("fleet-pod"),
		dnsQueue:  newQueue[string]("fleet-dns"),
		heard:     map[string]time.Time{},
		turned:    map[string]bool{},
		given:     map[types.UID][]netip.Prefix{},
		homeless:  map[types.UID]time.Time{},
	}
	if err := c.pods.AddIndexers(cache.Indexers{nodeIndex: indexNode}); err != nil {
		panic(fmt.Sprintf("BUG: fleet: %v", err)) // the informer was started before New
	}
	c.listed = []cache.InformerSynced{
		handle(c.nodes, c.nodeChanged, c.nodeGone),
		handle(c.leases, func(_, l *coordinationv1.Lease) { c.leaseChanged(l) }, func(*coordinationv1.Lease) {}),
		handle(c.pods, c.podChanged, c.podGone),
	}
	return c
}

func newQueue[T comparable](name string) workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[T](5*time.Millisecond, time.Minute),
		workqueue.TypedRateLimitingQueueConfig[T]{Name: name})
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	c.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "node-controller"})

	if !cache.WaitForCacheSync(ctx.Done(), c.listed...) {
		return nil
	}
	var wg sync.WaitGroup
	// One worker for nodes: ranges are given out one after the other.
	wg.Go(func() { work(ctx, c.nodeQueue, c.syncNode, c.log) })
	wg.Go(func() { work(ctx, c.podQueue, c.syncPod, c.log) })
	c.dnsQueue.Add("")
	wg.Go(func() { work(ctx, c.dnsQueue, c.syncNameServers, c.log) })
	<-ctx.Done()
	c.nodeQueue.ShutDown()
	c.podQueue.ShutDown()
	c.dnsQueue.ShutDown()
	wg.Wait()
	return nil
}

// work takes keys from q until it is shut down. A failure is repeated with a
// growing pause; a pass that asks for it is repeated after the time given.
func work[T comparable](ctx context.Context, q workqueue.TypedRateLimitingInterface[T],
	sync func(context.Context, T) (time.Duration, error), log *slog.Logger) {
	for {
		key, stop := q.Get()
		if stop {
			return
		}
		recheck, err := sync(ctx, key)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if !apierrors.IsConflict(err) {
				log.Warn("fleet: will try again", "object", fmt.Sprint(key), "err", err)
			}
			q.AddRateLimited(key)
		default:
			q.Forget(key)
			if recheck > 0 {
				q.AddAfter(key, recheck)
			}
		}
		q.Done(key)
	}
}

// handle calls changed for each new or changed object (old is nil when it is new)
// and gone for each that is deleted. What it returns tells whether the whole first
// list has been handed to changed.
func handle[T any](informer cache.SharedIndexInformer, changed func(old, obj *T), gone func(*T)) cache.InformerSynced {
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(nil, obj.(*T)) },
		UpdateFunc: func(old, obj any) { changed(old.(*T), obj.(*T)) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if t, ok := obj.(*T); ok {
				gone(t)
			}
		},
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: fleet: %v", err)) // the informer was stopped before New
	}
	return reg.HasSynced
}

func indexNode(obj any) ([]string, error) {
	if p, ok := obj.(*corev1.Pod); ok && p.Spec.NodeName != "" {
		return []string{p.Spec.NodeName}, nil
	}
	return nil, nil
}
