package quota

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/quota/v1/evaluator/core"
)

var (
	pods     = corev1.SchemeGroupVersion.WithResource("pods")
	services = corev1.SchemeGroupVersion.WithResource("services")
	claims   = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
)

// counted are the caches of what quotas limit.
type counted struct {
	client   kubernetes.Interface
	objects  metadata.Interface
	kinds    meta.RESTMapper
	registry quota.Registry
	shared   map[schema.GroupVersionResource]informers.GenericInformer // those of other controllers
	changed  func(schema.GroupResource, string)

	mu      sync.Mutex // guards watched
	watched map[schema.GroupVersionResource]*watch
}

// watch is the cache of a resource while a quota names it.
type watch struct {
	informers.GenericInformer
	end context.CancelFunc
}

func newCounted(client kubernetes.Interface, objects metadata.Interface, kinds meta.RESTMapper, shared informers.SharedInformerFactory, changed func(schema.GroupResource, string)) (*counted, error) {
	c := &counted{
		client: client, objects: objects, kinds: kinds, changed: changed,
		shared: map[schema.GroupVersionResource]informers.GenericInformer{}, watched: map[schema.GroupVersionResource]*watch{},
	}
	for _, r := range []schema.GroupVersionResource{pods, services} {
		i, err := shared.ForResource(r)
		if err != nil {
			return nil, fmt.Errorf("quotas: %w", err)
		}
		c.shared[r] = i
	}
	// Claims of devices would need caches of pods, classes and claims of their own.
	evaluators, err := core.NewEvaluators(c.lister, shared, func(r schema.GroupVersionResource) bool { return r.Resource != "resourceclaims" })
	if err != nil {
		return nil, fmt.Errorf("quotas: %w", err)
	}
	c.registry = generic.NewRegistry(evaluators)
	return c, nil
}

// lister reads the cache of a resource: that of other controllers, or the one of its own.
func (c *counted) lister(r schema.GroupVersionResource) (cache.GenericLister, error) {
	return generic.ListerFuncForResourceFunc(func(schema.GroupVersionResource) (informers.GenericInformer, error) {
		if i, ok := c.shared[r]; ok {
			return i, nil
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if w, ok := c.watched[r]; ok {
			return w, nil
		}
		return nil, fmt.Errorf("%s are not watched yet", r.GroupResource())
	})(r)
}

// watch begins to watch what quotas name, and ends it for what none names any more.
func (c *counted) watch(ctx context.Context, quotas []*corev1.ResourceQuota) {
	needed := map[schema.GroupVersionResource]bool{}
	for _, q := range quotas {
		for name := range q.Spec.Hard {
			for _, r := range c.named(name) {
				needed[r] = true
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, w := range c.watched {
		if !needed[r] {
			w.end()
			delete(c.watched, r)
		}
	}
	for r := range needed {
		if c.watched[r] == nil {
			c.watched[r] = c.begin(ctx, r)
		}
	}
}

// named are the resources that are counted for a name in a quota, beside those that others watch.
func (c *counted) named(name corev1.ResourceName) []schema.GroupVersionResource {
	if of, ok := strings.CutPrefix(string(name), "count/"); ok {
		r, err := c.kinds.ResourceFor(schema.ParseGroupResource(of).WithVersion(""))
		if err != nil {
			return nil // nothing of the kind can be made either
		}
		if c.registry.Get(r.GroupResource()) == nil {
			c.registry.Add(generic.NewObjectCountEvaluator(r.GroupResource(), generic.ListResourceUsingListerFunc(c.lister, r), ""))
		}
		return c.own(r)
	}
	var all []schema.GroupVersionResource
	for _, e := range c.registry.List() {
		if len(e.MatchingResources([]corev1.ResourceName{name})) == 0 {
			continue
		}
		if r, err := c.kinds.ResourceFor(e.GroupResource().WithVersion("")); err == nil {
			all = append(all, c.own(r)...)
		}
	}
	return all
}

// own is r, unless others watch it.
func (c *counted) own(r schema.GroupVersionResource) []schema.GroupVersionResource {
	if _, ok := c.shared[r]; ok {
		return nil
	}
	return []schema.GroupVersionResource{r}
}

// begin watches a resource. Of claims it takes more than the metadata to tell how much they count.
func (c *counted) begin(ctx context.Context, r schema.GroupVersionResource) *watch {
	ctx, end := context.WithCancel(ctx)
	w := &watch{end: end}
	if r == claims {
		w.GenericInformer, _ = informers.NewSharedInformerFactory(c.client, 0).ForResource(r)
	} else {
		w.GenericInformer = metadatainformer.NewFilteredMetadataInformer(c.objects, r, metav1.NamespaceAll, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nil)
	}
	tell := func(obj any) {
		if o, err := meta.Accessor(obj); err == nil {
			c.changed(r.GroupResource(), o.GetNamespace())
		}
	}
	_, _ = w.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) {
			if r == claims {
				tell(obj)
			}
		},
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			tell(obj)
		},
	})
	go w.Informer().RunWithContext(ctx)
	return w
}

// close ends every watch.
func (c *counted) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, w := range c.watched {
		w.end()
		delete(c.watched, r)
	}
}
