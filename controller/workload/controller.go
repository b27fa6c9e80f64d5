package workload

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/kube"
)

const (
	// workers is the number of objects of one kind that are worked on at once.
	workers = 4
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = 5 * time.Minute
	// ownerIndex finds objects by the UID of their controller, and orphans by
	// orphansOf their namespace.
	ownerIndex = "workload/owner"
)

// Controller runs the Deployment and the ReplicaSet loop.
type Controller struct {
	client kubernetes.Interface
	log    *slog.Logger

	deployments, sets, pods cache.SharedIndexInformer
	listed                  []cache.DoneChecker
	deploymentQueue         *kube.Queue[types.NamespacedName]
	setQueue                *kube.Queue[types.NamespacedName]

	ownPods        kube.OwnWrites[types.UID, *corev1.Pod]        // by ReplicaSet
	ownSets        kube.OwnWrites[types.UID, *appsv1.ReplicaSet] // by Deployment
	ownSetSelf     kube.OwnWrites[types.UID, *appsv1.ReplicaSet] // by itself
	ownDeployments kube.OwnWrites[types.UID, *appsv1.Deployment] // by itself

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
		deploymentQueue: kube.NewQueue[types.NamespacedName]("deployment", lastRetry, log),
		setQueue:        kube.NewQueue[types.NamespacedName]("replicaset", lastRetry, log),
	}
	c.watch()
	return c
}

// Run works until ctx is done. It waits for the informers' first lists, so
// nothing is decided on a partial picture.
func (c *Controller) Run(ctx context.Context) error {
	c.deploymentEvents = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "deployment-controller"})
	c.setEvents = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "replicaset-controller"})
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	var queues sync.WaitGroup
	queues.Go(func() { c.deploymentQueue.Work(ctx, workers, c.syncDeployment) })
	queues.Go(func() { c.setQueue.Work(ctx, workers, c.syncReplicaSet) })
	queues.Wait()
	return nil
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
func view[T kube.Object](informer cache.SharedIndexInformer, own *kube.OwnWrites[types.UID, T], owner metav1.Object) ([]T, error) {
	version := informer.GetIndexer().LastStoreSyncResourceVersion() // before reading, see View
	mine, err := owned[T](informer, string(owner.GetUID()))
	if err != nil {
		return nil, err
	}
	orphans, err := owned[T](informer, orphansOf(owner.GetNamespace()))
	if err != nil {
		return nil, err
	}
	mine = own.View(owner.GetUID(), version, mine)
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
