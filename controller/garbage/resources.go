package garbage

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// ownersIndex finds objects by the UID of any of their owners.
const ownersIndex = "garbage/owners"

// resource is a served resource whose objects can be collected.
type resource struct {
	gvr        schema.GroupVersionResource
	kind       schema.GroupKind
	namespaced bool
	collection bool                      // can be deleted by collection
	informer   cache.SharedIndexInformer // nil: not watched (events)
	stop       func()                    // ends the informer; nil: a shared one
	idle       bool                      // there are no objects: not watched
}

// resources is the set of served resources, as discovery told last.
type resources struct {
	mu         sync.RWMutex // guards below
	byResource map[schema.GroupResource]*resource
	byKind     map[schema.GroupKind]*resource
}

func newResources() *resources {
	return &resources{byResource: map[schema.GroupResource]*resource{}, byKind: map[schema.GroupKind]*resource{}}
}

func (s *resources) add(r *resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byResource[r.gvr.GroupResource()] = r
	s.byKind[r.kind] = r
}

func (s *resources) remove(r *resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byResource, r.gvr.GroupResource())
	delete(s.byKind, r.kind)
}

func (s *resources) get(gr schema.GroupResource) *resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byResource[gr]
}

func (s *resources) ofKind(gk schema.GroupKind) *resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKind[gk]
}

// all are the resources in a fixed order.
func (s *resources) all() []*resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*resource, 0, len(s.byResource))
	for _, r := range s.byResource {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *resource) int {
		return cmp.Compare(a.gvr.Resource+"."+a.gvr.Group, b.gvr.Resource+"."+b.gvr.Group)
	})
	return out
}

// dependents are the cached objects that name uid as an owner.
func (s *resources) dependents(uid types.UID) []dependent {
	var out []dependent
	for _, r := range s.all() {
		if r.informer == nil {
			continue
		}
		objs, err := r.informer.GetIndexer().ByIndex(ownersIndex, string(uid))
		if err != nil {
			panic(fmt.Sprintf("BUG: garbage: %v", err)) // the index is added with the informer
		}
		for _, obj := range objs {
			out = append(out, dependent{resource: r, object: obj.(metav1.Object)})
		}
	}
	return out
}

// dependent is an object that names some owner.
type dependent struct {
	resource *resource
	object   metav1.Object
}

// blocks reports whether the dependent holds up the foreground deletion of uid, an
// object of the resource owner. A cluster-wide object has no owner in a namespace,
// whatever it says, and would hold it up for ever.
func (d dependent) blocks(owner *resource, uid types.UID) bool {
	if owner.namespaced && !d.resource.namespaced {
		return false
	}
	for _, ref := range d.object.GetOwnerReferences() {
		if ref.UID == uid && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion {
			return true
		}
	}
	return false
}

// circle are the objects through which obj, deleted in the foreground, waits for
// itself: each of them blocks the next one and is deleted in the foreground too.
// It is empty when there is no way back to obj.
func (s *resources) circle(r *resource, obj metav1.Object) map[types.UID]bool {
	if !waits(obj) {
		return nil
	}
	reached := map[types.UID]bool{}
	for todo := []dependent{{r, obj}}; len(todo) > 0; {
		owner := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, d := range s.dependents(owner.object.GetUID()) {
			if uid := d.object.GetUID(); !reached[uid] && waits(d.object) && d.blocks(owner.resource, owner.object.GetUID()) {
				reached[uid] = true
				todo = append(todo, d)
			}
		}
	}
	if !reached[obj.GetUID()] {
		return nil
	}
	return reached
}

// waits reports whether obj is being deleted and waits for its dependents to go first.
func waits(obj metav1.Object) bool {
	return obj.GetDeletionTimestamp() != nil && slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents)
}

// cached is the object of this identity as the resource's cache has it.
func (r *resource) cached(namespace, name string, uid types.UID) (metav1.Object, bool) {
	if r.informer == nil {
		return nil, false
	}
	obj, exists, err := r.informer.GetIndexer().GetByKey(cache.NewObjectName(namespace, name).String())
	if err != nil || !exists {
		return nil, false
	}
	m := obj.(metav1.Object)
	return m, m.GetUID() == uid
}

func indexOwners(obj any) ([]string, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("index %s: %T is not an API object", ownersIndex, obj)
	}
	refs := m.GetOwnerReferences()
	out := make([]string, len(refs))
	for i := range refs {
		out[i] = string(refs[i].UID)
	}
	return out, nil
}
