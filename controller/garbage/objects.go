package garbage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/controller/garbage/ownership"
	"fairlead.dev/fairlead/kube"
)

// item is one object to look at.
type item struct {
	resource        schema.GroupResource
	namespace, name string
	uid             types.UID
}

func itemOf(r *resource, obj metav1.Object) item {
	return item{resource: r.gvr.GroupResource(), namespace: obj.GetNamespace(), name: obj.GetName(), uid: obj.GetUID()}
}

// watch puts what could be garbage on the queue. It needs no order between the
// informers: a dependent that arrives after its owner's deletion does not find the
// owner in a cache and asks the server; one that arrived before is found by index.
func (c *Collector) watch(r *resource) error {
	if err := r.informer.AddIndexers(cache.Indexers{ownersIndex: indexOwners}); err != nil {
		return fmt.Errorf("index %s: %w", r.gvr.Resource, err)
	}
	kube.Watch(r.informer, func(old, obj metav1.Object, _ bool) {
		if obj == nil {
			c.gone(r, old)
		} else {
			c.seen(r, old, obj)
		}
	})
	return nil
}

// seen queues a new or changed object if its owners or its deletion changed.
func (c *Collector) seen(r *resource, old, obj metav1.Object) {
	c.defaultsChanged(r, obj)
	if r.gvr.Resource == "customresourcedefinitions" {
		select {
		case c.defined <- struct{}{}:
		default: // a notice waits already
		}
	}
	deleting := obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) > 0
	changed := old != nil && !slices.EqualFunc(old.GetOwnerReferences(), obj.GetOwnerReferences(), sameOwner)
	if changed {
		c.ownersOf(old) // one of them may have waited for it
	}
	if deleting || changed || old == nil && len(obj.GetOwnerReferences()) > 0 {
		c.objects.Add(itemOf(r, obj))
	}
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && (a.BlockOwnerDeletion != nil && *a.BlockOwnerDeletion) == (b.BlockOwnerDeletion != nil && *b.BlockOwnerDeletion)
}

// gone queues what depended on a deleted object, and what waited for its end.
func (c *Collector) gone(r *resource, obj metav1.Object) {
	for _, d := range c.resources.dependents(obj.GetUID()) {
		c.objects.Add(itemOf(d.resource, d.object))
	}
	c.ownersOf(obj)
	c.defaultsChanged(r, obj)
	c.contentGone(obj.GetNamespace())
}

// ownersOf queues the owners of obj that are being deleted.
func (c *Collector) ownersOf(obj metav1.Object) {
	for _, ref := range obj.GetOwnerReferences() {
		r, namespace := c.ownerResource(obj, ref)
		if r == nil {
			continue
		}
		if owner, ok := r.cached(namespace, ref.Name, ref.UID); ok && owner.GetDeletionTimestamp() != nil {
			c.objects.Add(itemOf(r, owner))
		}
	}
}

// ownerResource is the resource a reference names, and the namespace to look in.
func (c *Collector) ownerResource(obj metav1.Object, ref metav1.OwnerReference) (*resource, string) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, ""
	}
	r := c.resources.ofKind(schema.GroupKind{Group: gv.Group, Kind: ref.Kind})
	if r == nil || !r.namespaced {
		return r, ""
	}
	return r, obj.GetNamespace()
}

// process looks at one object and does what package ownership says.
func (c *Collector) process(ctx context.Context, it item) (time.Duration, error) {
	r := c.resources.get(it.resource)
	if r == nil {
		return 0, nil
	}
	obj, ok := r.cached(it.namespace, it.name, it.uid)
	if !ok {
		return 0, nil
	}
	owners := make([]ownership.Owner, len(obj.GetOwnerReferences()))
	if obj.GetDeletionTimestamp() == nil {
		for i, ref := range obj.GetOwnerReferences() {
			var err error
			if owners[i], err = c.owner(ctx, obj, ref); err != nil {
				return 0, err
			}
		}
	}
	dependents := c.resources.dependents(it.uid)
	action := ownership.Decide(obj, owners, ownership.Dependents{
		Any:     len(dependents) > 0,
		Blocked: slices.ContainsFunc(dependents, func(d dependent) bool { return d.blocks(r, it.uid) }),
		Circle:  c.resources.circle(r, obj),
	})
	if action.Verb == ownership.Leave {
		return 0, nil
	}
	return 0, c.act(ctx, r, obj, action, dependents)
}

// owner finds out what became of an owner: from the cache if it is there, else
// from the server.
func (c *Collector) owner(ctx context.Context, obj metav1.Object, ref metav1.OwnerReference) (ownership.Owner, error) {
	r, namespace := c.ownerResource(obj, ref)
	if r == nil {
		return ownership.Solid, fmt.Errorf("%s %s/%s has an owner of a kind that is not served: %s %s %s", obj.GetUID(), obj.GetNamespace(), obj.GetName(), ref.APIVersion, ref.Kind, ref.Name)
	}
	if r.namespaced && namespace == "" {
		return ownership.Solid, nil // a cluster-wide object cannot be owned from a namespace; never collected
	}
	owner, ok := r.cached(namespace, ref.Name, ref.UID)
	if !ok {
		live, err := c.at(r, namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && live.UID != ref.UID {
			return ownership.Dangling, nil
		}
		if err != nil {
			return ownership.Solid, fmt.Errorf("owner %s %s/%s: %w", ref.Kind, namespace, ref.Name, err)
		}
		owner = live
	}
	if waits(owner) {
		return ownership.Waiting, nil
	}
	return ownership.Solid, nil
}

// act carries out one action. Every write names the object's UID and resource
// version, so a decision on a stale copy is refused and made again.
func (c *Collector) act(ctx context.Context, r *resource, obj metav1.Object, a ownership.Action, dependents []dependent) error {
	at := c.at(r, obj.GetNamespace())
	switch a.Verb {
	case ownership.Delete:
		uid, version := obj.GetUID(), obj.GetResourceVersion()
		err := at.Delete(ctx, obj.GetName(), metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}, PropagationPolicy: &a.Policy})
		return ignoreNotFound(err)
	case ownership.DropOwners, ownership.Unblock:
		return c.patch(ctx, at, obj, map[string]any{"ownerReferences": a.Owners})
	case ownership.DeleteDependents:
		for _, d := range dependents {
			// One that is being deleted tells by itself when it changes; to look at it
			// from here too, a circle would keep this queue busy for ever.
			if d.object.GetDeletionTimestamp() == nil {
				c.objects.Add(itemOf(d.resource, d.object))
			}
		}
		return nil
	case ownership.Orphan:
		for _, d := range dependents {
			refs := slices.DeleteFunc(slices.Clone(d.object.GetOwnerReferences()), func(ref metav1.OwnerReference) bool { return ref.UID == obj.GetUID() })
			if err := c.patch(ctx, c.at(d.resource, d.object.GetNamespace()), d.object, map[string]any{"ownerReferences": refs}); err != nil {
				return err
			}
		}
	case ownership.Leave, ownership.RemoveFinalizer:
	}
	rest := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return f == a.Finalizer })
	return c.patch(ctx, at, obj, map[string]any{"finalizers": rest})
}

// at is the client for the resource, in a namespace if it has namespaces.
func (c *Collector) at(r *resource, namespace string) metadata.ResourceInterface {
	if r.namespaced {
		return c.metadata.Resource(r.gvr).Namespace(namespace)
	}
	return c.metadata.Resource(r.gvr)
}

// patch replaces the given metadata fields of exactly this version of obj.
func (c *Collector) patch(ctx context.Context, at metadata.ResourceInterface, obj metav1.Object, fields map[string]any) error {
	fields["uid"], fields["resourceVersion"] = obj.GetUID(), obj.GetResourceVersion()
	patch, err := json.Marshal(map[string]any{"metadata": fields})
	if err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	_, err = at.Patch(ctx, obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
