package quota

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/kube"
)

const (
	// recount is how often a quota is counted without any change that calls for it, as upstream.
	recount = 5 * time.Minute
	// lastRetry is the longest pause before a quota is tried again.
	lastRetry = 30 * time.Second
)

// Controller counts what quotas limit. Make one with New, run it with Run.
type Controller struct {
	client  kubernetes.Interface
	objects metadata.Interface
	kinds   meta.RESTMapper
	shared  informers.SharedInformerFactory
	first   kube.First
	queue   *kube.Queue[types.NamespacedName]

	quotas  listers.ResourceQuotaLister // these are there from when there is a quota
	counted *counted
	listed  []cache.DoneChecker
}

// New returns a Controller over the shared informers, which starts those that it needs besides when there is a quota: first waits for
// that. Objects that are only counted are watched with objects, and kinds finds out which resources those are that quotas name.
func New(client kubernetes.Interface, objects metadata.Interface, kinds meta.RESTMapper, shared informers.SharedInformerFactory, first kube.First, log *slog.Logger) *Controller {
	return &Controller{
		client: client, objects: objects, kinds: kinds, shared: shared, first: first,
		queue: kube.NewQueue[types.NamespacedName]("quota", lastRetry, log),
	}
}

// begin watches the quotas, and what they are mostly about.
func (c *Controller) begin(ctx context.Context) error {
	core := c.shared.Core().V1()
	c.quotas = core.ResourceQuotas().Lister()
	var err error
	if c.counted, err = newCounted(c.client, c.objects, c.kinds, c.shared, c.changed); err != nil {
		return err
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(core.ResourceQuotas().Informer(), func(before, after *corev1.ResourceQuota, _ bool) {
			switch {
			case after == nil:
				c.queue.Add(kube.Key(before)) // what only it named need not be watched any more
			case before == nil || !equality.Semantic.DeepEqual(before.Spec, after.Spec) || !equality.Semantic.DeepEqual(after.Spec.Hard, after.Status.Hard):
				c.queue.Add(kube.Key(after))
			}
		}),
		kube.Watch(core.Pods().Informer(), func(before, after *corev1.Pod, _ bool) { counts(c, pods, before, after) }),
		kube.Watch(core.Services().Informer(), func(before, after *corev1.Service, _ bool) { counts(c, services, before, after) }),
	}
	c.shared.Start(ctx.Done())
	return nil
}

// counts looks at quotas again when an object counts for less, or for something else, than before. What is new was counted by admission.
func counts[T any, P interface {
	*T
	metav1.Object
	runtime.Object
}](c *Controller, what schema.GroupVersionResource, before, after P) {
	if before == nil || !c.any(before.GetNamespace()) {
		return
	}
	if after != nil {
		evaluator := c.counted.registry.Get(what.GroupResource())
		was, err := evaluator.Usage(before)
		is, also := evaluator.Usage(after)
		if err == nil && also == nil && quota.Equals(was, is) {
			return
		}
	}
	c.changed(what.GroupResource(), before.GetNamespace())
}

func (c *Controller) any(namespace string) bool {
	all, err := c.quotas.ResourceQuotas(namespace).List(labels.Everything())
	return err == nil && len(all) > 0
}

// changed has the quotas of a namespace that limit a resource counted again.
func (c *Controller) changed(resource schema.GroupResource, namespace string) {
	all, err := c.quotas.ResourceQuotas(namespace).List(labels.Everything())
	evaluator := c.counted.registry.Get(resource)
	if err != nil || evaluator == nil {
		return
	}
	for _, q := range all {
		if len(evaluator.MatchingResources(quota.ResourceNames(q.Spec.Hard))) > 0 {
			c.queue.Add(kube.Key(q))
		}
	}
}

// Run counts until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.first(ctx, schema.GroupResource{Resource: "resourcequotas"}); err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	defer c.counted.close()
	c.queue.Work(ctx, 1, c.sync)
	return nil
}

// sync counts for one quota and writes its status.
func (c *Controller) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	all, err := c.quotas.List(labels.Everything())
	if err != nil {
		return 0, err
	}
	c.counted.watch(ctx, all)
	q, err := c.quotas.ResourceQuotas(key.Namespace).Get(key.Name)
	if err != nil {
		return 0, nil //nolint:nilerr // it is gone
	}
	hard := q.Spec.Hard
	now, err := quota.CalculateUsage(q.Namespace, q.Spec.Scopes, hard, c.counted.registry, q.Spec.ScopeSelector)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", kube.ErrWaiting, err) // a cache that is being filled
	}
	used := quota.Add(corev1.ResourceList{}, q.Status.Used)
	for name, value := range now {
		used[name] = value
	}
	used = quota.Mask(used, quota.ResourceNames(hard))
	if q.Status.Used != nil && equality.Semantic.DeepEqual(hard, q.Status.Hard) && quota.Equals(used, q.Status.Used) {
		return recount, nil
	}
	next := q.DeepCopy()
	next.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
	_, err = c.client.CoreV1().ResourceQuotas(q.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	return recount, err
}
