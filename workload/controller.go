package workload

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// workers is the number of objects of one kind that are worked on at once.
const workers = 4

// ownerIndex finds objects by the UID of their controller, and orphans by
// orphansOf their namespace.
const ownerIndex = "workload/owner"

type queue = workqueue.TypedRateLimitingInterface[types.NamespacedName]

// Controller runs the Deployment and the ReplicaSet loop.
type Controller struct {
	client kubernetes.Interface
	log    *slog.Logger

	deployments, sets, pods cache.SharedIndexInformer
	deploymentQueue         queue
	setQueue                queue

	ownPods        *ownWrites[*corev1.Pod]        // by ReplicaSet
	ownSets        *ownWrites[*appsv1.ReplicaSet] // by Deployment
	ownSetSelf     *ownWrites[*appsv1.ReplicaSet] // by itself
	ownDeployments *ownWrites[*appsv1.Deployment] // by itself

	deploymentEvents, setEvents record.EventRecorder // set by Run
}

// New returns a Controller over the shared informers, which the caller starts. It
// starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, log: log,
		deployments:     shared.Apps().V1().Deployments().Informer(),
		sets:            shared.Apps().V1().ReplicaSets().Informer(),
		pods:            shared.Core().V1().Pods().Informer(),
		deploymentQueue: newQueue("deployment"),
		setQueue:        newQueue("replicaset"),
		ownPods:         newOwnWrites[*corev1.Pod](),
		ownSets:         newOwnWrites[*appsv1.ReplicaSet](),
		ownSetSelf:      newOwnWrites[*appsv1.ReplicaSet](),
		ownDeployments:  newOwnWrites[*appsv1.Deployment](),
	}
	c.watch()
	return c
}

func newQueue(name string) queue {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](5*time.Millisecond, 5*time.Minute),
		workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Name: name})
}

// Run works until ctx is done. It waits for the informers' first lists, so
// nothing is decided on a partial picture.
func (c *Controller) Run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	c.deploymentEvents = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "deployment-controller"})
	c.setEvents = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "replicaset-controller"})

	if !cache.WaitForCacheSync(ctx.Done(), c.deployments.HasSynced, c.sets.HasSynced, c.pods.HasSynced) {
		return nil
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { c.work(ctx, "deployment", c.deploymentQueue, c.syncDeployment) })
		wg.Go(func() { c.work(ctx, "replicaset", c.setQueue, c.syncReplicaSet) })
	}
	<-ctx.Done()
	c.deploymentQueue.ShutDown()
	c.setQueue.ShutDown()
	wg.Wait()
	return nil
}

// work takes keys from q until it is shut down. A pass that failed is repeated
// with a growing pause; one that asks for it is repeated after the time given.
func (c *Controller) work(ctx context.Context, kind string, q queue,
	sync func(context.Context, types.NamespacedName) (time.Duration, error)) {
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
				c.log.Warn("workload: will try again", "kind", kind, "object", key.String(), "err", err)
			}
			q.AddRateLimited(key)
		case recheck > 0:
			q.Forget(key)
			q.AddAfter(key, recheck)
		default:
			q.Forget(key)
		}
		q.Done(key)
	}
}

// cached reads an object of type T from an informer's store.
func cached[T any](informer cache.SharedIndexInformer, key types.NamespacedName) (T, bool) {
	obj, exists, err := informer.GetIndexer().GetByKey(key.String())
	if err != nil || !exists {
		var none T
		return none, false
	}
	return obj.(T), true
}

// owned reads the objects of type T that the index files under value.
func owned[T any](informer cache.SharedIndexInformer, value string) ([]T, error) {
	objs, err := informer.GetIndexer().ByIndex(ownerIndex, value)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", ownerIndex, err)
	}
	out := make([]T, len(objs))
	for i, obj := range objs {
		out[i] = obj.(T)
	}
	return out, nil
}

// orphansOf is the index value of a namespace's objects without a controller. It
// cannot be a UID.
func orphansOf(namespace string) string { return "orphans of " + namespace }

func indexOwner(obj any) ([]string, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("index %s: %T is not an API object", ownerIndex, obj)
	}
	if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
		return []string{string(ref.UID)}, nil
	}
	return []string{orphansOf(m.GetNamespace())}, nil
}

// view is the owner's objects: those the cache has as its own joined with newer
// own writes, and the orphans of the namespace.
func view[T object](informer cache.SharedIndexInformer, own *ownWrites[T], owner metav1.Object) ([]T, error) {
	version := informer.GetIndexer().LastStoreSyncResourceVersion() // before reading, see merge
	mine, err := owned[T](informer, string(owner.GetUID()))
	if err != nil {
		return nil, err
	}
	orphans, err := owned[T](informer, orphansOf(owner.GetNamespace()))
	if err != nil {
		return nil, err
	}
	mine = own.merge(owner.GetUID(), mine, version)
	seen := make(map[types.UID]bool, len(mine))
	for _, obj := range mine {
		seen[obj.GetUID()] = true
	}
	for _, obj := range orphans {
		if !seen[obj.GetUID()] { // not one we have adopted since
			mine = append(mine, obj)
		}
	}
	return mine, nil
}

// newest returns obj or this process's own newer version of it.
func newest[T object](own *ownWrites[T], obj T) T {
	return own.merge(obj.GetUID(), []T{obj}, obj.GetResourceVersion())[0]
}
