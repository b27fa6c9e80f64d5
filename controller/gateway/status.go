package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// versions are the resource versions of the last write of ours to each object.
type versions struct {
	mu sync.Mutex
	of map[types.UID]uint64
}

func version(o metav1.Object) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// shown reports whether an object from a cache is at least as new as what was written to it.
func (v *versions) shown(o metav1.Object) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of[o.GetUID()] > version(o) {
		return false
	}
	delete(v.of, o.GetUID())
	return true
}

func (v *versions) note(o metav1.Object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[types.UID]uint64{}
	}
	v.of[o.GetUID()] = version(o)
}

func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// status writes an object's status, if it differs from the one it has.
func (c *Controller) status(ctx context.Context, resource string, o metav1.Object, have, want any) error {
	if same(have, want) || !c.written.shown(o) {
		return nil
	}
	return c.patchStatus(ctx, c.group, resource, o, have, want)
}

// patchStatus writes the fields of a status as they are in want, over the version of the object that they were derived from.
func (c *Controller) patchStatus(ctx context.Context, client rest.Interface, resource string, o metav1.Object, have, want any) error {
	status, err := fields(want)
	if err != nil {
		return err
	}
	old, err := fields(have)
	if err != nil {
		return err
	}
	for name := range old {
		if _, ok := status[name]; !ok {
			status[name] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": o.GetUID(), "resourceVersion": o.GetResourceVersion()}, "status": status,
	})
	if err != nil {
		return err
	}
	raw, err := client.Patch(types.MergePatchType).Resource(resource).NamespaceIfScoped(o.GetNamespace(), o.GetNamespace() != "").Name(o.GetName()).
		SubResource("status").Body(patch).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status of %s %s/%s: %w", resource, o.GetNamespace(), o.GetName(), err)
	}
	var answer metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("status of %s %s/%s: %w", resource, o.GetNamespace(), o.GetName(), err)
	}
	c.written.note(&answer)
	return nil
}

// fields are those of a struct as they are written.
func fields(of any) (map[string]any, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}

// tell posts an Event on an object for each of its conditions that has become false for a reason of its own.
func (c *Controller) tell(kind string, o metav1.Object, have, want []metav1.Condition) {
	if !c.written.shown(o) {
		return
	}
	for _, w := range want {
		known := slices.ContainsFunc(have, func(h metav1.Condition) bool {
			return h.Type == w.Type && h.Status == w.Status && h.Reason == w.Reason && h.Message == w.Message
		})
		if w.Status != metav1.ConditionFalse || known || w.Reason == string(gw.GatewayReasonPending) || w.Reason == string(gw.GatewayReasonAddressNotAssigned) {
			continue
		}
		c.event(kind, o, w)
	}
}

// addressTime is how long a new Gateway has for its address, in which nobody is told that it has none.
const addressTime = 2 * time.Second

// tellUnaddressed posts an Event on a Gateway that has no address, once, and not before it could have one. It returns when to look again,
// zero if that is not needed.
func (c *Controller) tellUnaddressed(o metav1.Object, conditions []metav1.Condition, now time.Time) (again time.Duration) {
	i := slices.IndexFunc(conditions, func(w metav1.Condition) bool { return w.Reason == string(gw.GatewayReasonAddressNotAssigned) })
	if i < 0 {
		delete(c.unaddressed, o.GetUID())
		return 0
	}
	since, known := c.unaddressed[o.GetUID()]
	switch {
	case !known:
		c.unaddressed[o.GetUID()] = now
		return addressTime
	case since.IsZero():
		return 0
	case now.Sub(since) < addressTime:
		return addressTime - now.Sub(since)
	}
	c.unaddressed[o.GetUID()] = time.Time{}
	c.event("Gateway", o, conditions[i])
	return 0
}

// event posts an Event that says of an object what a condition of it does.
func (c *Controller) event(kind string, o metav1.Object, w metav1.Condition) {
	ref := &corev1.ObjectReference{
		APIVersion: gw.GroupVersion.String(), Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
	}
	c.events.Eventf(ref, corev1.EventTypeWarning, w.Reason, "%s: %s", w.Type, w.Message)
}
