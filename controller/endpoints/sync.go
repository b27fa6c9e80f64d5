package endpoints

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/plan"
	"fairlead.dev/fairlead/kube"
)

// syncSlices brings the EndpointSlices of one Service into the state that plan.Slices asks for.
func (c *Controller) syncSlices(ctx context.Context, key types.NamespacedName) error {
	svc := kube.Cached[corev1.Service](c.services, key)
	if svc == nil {
		c.slicesLoop.own.Forget(key)
		c.metrics.gone(key)
		c.topologies.Delete(key)
		return nil
	}
	if !api.Selects(svc) {
		c.metrics.gone(key)
		return nil
	}
	pods := c.podsOf(svc)
	changes, remarks := plan.Slices(svc, pods, c.nodesFor(svc, pods), c.slicesOf(c.slicesLoop, api.SlicesManager, key))
	err := c.apply(ctx, c.slicesLoop, key, changes)
	c.metrics.synced(key, remarks.Tally, err)
	if err != nil {
		c.failed(svc, err, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service")
		return fmt.Errorf("endpointslices of service %s: %w", key, err)
	}
	c.tellTopology(svc, remarks.Topology)
	if len(remarks.Waiting) > 0 {
		return fmt.Errorf("endpointslices of service %s: %w for the nodes of pods %s",
			key, kube.ErrWaiting, strings.Join(remarks.Waiting, ", "))
	}
	return nil
}

// syncMirror brings the slices that mirror one Endpoints object into the state that plan.Mirror
// asks for.
func (c *Controller) syncMirror(ctx context.Context, key types.NamespacedName) error {
	existing := c.slicesOf(c.mirrorLoop, api.MirrorManager, key)
	ep := kube.Cached[corev1.Endpoints](c.endpoints, key)
	changes, left := plan.Mirror(ep, kube.Cached[corev1.Service](c.services, key), existing)
	if len(changes.Create)+len(changes.Update)+len(changes.Delete) == 0 {
		return nil
	}
	if left.Invalid > 0 {
		c.events.Eventf(ep, corev1.EventTypeWarning, "InvalidIPAddress",
			"Skipping %d invalid IP addresses when mirroring to EndpointSlices", left.Invalid)
	}
	if left.Surplus > 0 {
		c.events.Eventf(ep, corev1.EventTypeWarning, "TooManyAddressesToMirror",
			"A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped",
			api.MirrorLimit, left.Surplus)
	}
	if err := c.apply(ctx, c.mirrorLoop, key, changes); err != nil {
		return fmt.Errorf("mirror of endpoints %s: %w", key, err)
	}
	return nil
}

// slicesOf returns the slices that a loop keeps for a Service, without those that are being deleted: what holds one of them up,
// such as a finalizer, holds up nothing else.
func (c *Controller) slicesOf(l *loop[*discoveryv1.EndpointSlice], manager string, key types.NamespacedName) []*discoveryv1.EndpointSlice {
	version := c.slices.GetStore().LastStoreSyncResourceVersion()
	view := l.own.View(key, version, Slices(c.slices.GetIndexer(), manager, key))
	return slices.DeleteFunc(view, func(s *discoveryv1.EndpointSlice) bool { return s.DeletionTimestamp != nil })
}

// apply carries out a plan: what adds endpoints before what removes them. It stops at the first
// write that fails; the next sync plans afresh.
func (c *Controller) apply(ctx context.Context, l *loop[*discoveryv1.EndpointSlice], key types.NamespacedName, changes plan.Changes) error {
	client := c.client.DiscoveryV1().EndpointSlices(key.Namespace)
	for _, slice := range changes.Create {
		written, err := client.Create(ctx, slice, metav1.CreateOptions{})
		if namespaceGone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("create slice: %w", err)
		}
		l.own.Wrote(key, written)
		c.count(l, "create")
	}
	for _, slice := range changes.Update {
		written, err := client.Update(ctx, slice, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("update slice %s: %w", slice.Name, err)
		}
		l.own.Wrote(key, written)
		c.count(l, "update")
	}
	for _, slice := range changes.Delete {
		err := client.Delete(ctx, slice.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &slice.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete slice %s: %w", slice.Name, err)
		}
		l.own.Deleted(key, slice.UID, time.Now())
		c.count(l, "delete")
	}
	return nil
}

// count counts a write of a slice that follows a selector.
func (c *Controller) count(l *loop[*discoveryv1.EndpointSlice], operation string) {
	if l == c.slicesLoop {
		c.metrics.changes.WithLabelValues(operation).Inc()
	}
}

// namespaceGone reports whether a create was refused because the namespace is being deleted, or has
// been: nothing can be created there any more, and there is nobody to tell (rule E36).
func namespaceGone(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err)
}

// syncEndpoints brings the Endpoints object of one Service into the state that plan.Endpoints asks
// for, or removes it when there is no Service.
func (c *Controller) syncEndpoints(ctx context.Context, key types.NamespacedName) error {
	svc := kube.Cached[corev1.Service](c.services, key)
	existing, changed, deleted := c.endpointsOf(key)
	if svc == nil {
		return c.removeOrphan(ctx, key)
	}
	if !api.Selects(svc) {
		return nil
	}
	want := plan.Endpoints(svc, c.podsOf(svc), existing)
	if want == nil {
		return nil
	}
	if deleted {
		// Usually it went with its Service, whose event comes next.
		if uid, err := c.serviceUID(ctx, key); uid != svc.UID || err != nil {
			return err
		}
	}
	if err := c.writeEndpoints(ctx, svc, want); err != nil {
		return err
	}
	if changed || deleted {
		c.events.Eventf(svc, corev1.EventTypeWarning, "EndpointsRestored",
			"Endpoints %s was %s by hand and is put back: it follows the selector of the Service. To write it by hand remove spec.selector",
			key.Name, map[bool]string{true: "deleted", false: "changed"}[deleted])
	}
	return nil
}

// endpointsOf returns the Endpoints object of a Service, nil when there is none, and what somebody else did to it.
func (c *Controller) endpointsOf(key types.NamespacedName) (existing *corev1.Endpoints, changed, deleted bool) {
	version := c.endpoints.GetStore().LastStoreSyncResourceVersion()
	var cached []*corev1.Endpoints
	if ep := kube.Cached[corev1.Endpoints](c.endpoints, key); ep != nil {
		cached = append(cached, ep)
	}
	if view := c.endpointsLoop.own.View(key, version, cached); len(view) > 0 {
		existing = view[len(view)-1] // one that the cache lacks came after one that it still has
	}
	changed, deleted = c.endpointsLoop.own.Edited(key, cached)
	return existing, changed, deleted
}

// writeEndpoints creates or updates the object of a Service.
func (c *Controller) writeEndpoints(ctx context.Context, svc *corev1.Service, want *corev1.Endpoints) error {
	key := kube.Key(svc)
	client := c.client.CoreV1().Endpoints(key.Namespace)
	write, reason, message := client.Update, "FailedToUpdateEndpoint", "Failed to update endpoint for service"
	if want.ResourceVersion == "" {
		write = func(ctx context.Context, want *corev1.Endpoints, _ metav1.UpdateOptions) (*corev1.Endpoints, error) {
			return client.Create(ctx, want, metav1.CreateOptions{})
		}
		reason, message = "FailedToCreateEndpoint", "Failed to create endpoint for service"
	}
	written, err := write(ctx, want, metav1.UpdateOptions{})
	if want.ResourceVersion == "" && namespaceGone(err) {
		return nil
	}
	if err != nil {
		c.failed(svc, err, reason, message)
		return fmt.Errorf("endpoints of service %s: %w", key, err)
	}
	c.endpointsLoop.own.Wrote(key, written)
	return nil
}

// serviceUID asks the API for the Service of a name, because the cache may be late; empty when there is none.
func (c *Controller) serviceUID(ctx context.Context, key types.NamespacedName) (types.UID, error) {
	svc, err := c.client.CoreV1().Services(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("endpoints %s: look for its service: %w", key, err)
	}
	return svc.UID, nil
}

// removeOrphan deletes the Endpoints object of a Service that is gone (rule E32), unless it is a
// lock of old leader election (rule E34). The API is asked first, because the object may have been
// written by hand for a Service that the cache does not show yet; the precondition makes sure that
// what is deleted is what was looked at.
func (c *Controller) removeOrphan(ctx context.Context, key types.NamespacedName) error {
	ep := kube.Cached[corev1.Endpoints](c.endpoints, key)
	if ep == nil {
		return nil
	}
	if api.Lock(ep) {
		return nil
	}
	if uid, err := c.serviceUID(ctx, key); uid != "" || err != nil {
		return err // if it is there, its event will come
	}
	err := c.client.CoreV1().Endpoints(key.Namespace).Delete(ctx, key.Name,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ep.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("endpoints %s: delete, its service is gone: %w", key, err)
	}
	return nil
}

// failed tells the people who look at a Service that its endpoints could not be written (rules E36
// and E72). A conflict is none of their concern: the next try settles it.
func (c *Controller) failed(svc *corev1.Service, err error, reason, message string) {
	if kube.Expected(err) {
		return
	}
	c.events.Eventf(svc, corev1.EventTypeWarning, reason, "%s %s/%s: %v", message, svc.Namespace, svc.Name, err)
}

// tellTopology tells the people who asked for hints in mode Auto what became of it, when that has
// changed (rule E94).
func (c *Controller) tellTopology(svc *corev1.Service, outcome plan.Topology) {
	key := kube.Key(svc)
	told, _ := c.topologies.Load(key)
	before, _ := told.(plan.Topology)
	if outcome == nil {
		c.topologies.Delete(key)
		return
	}
	c.topologies.Store(key, outcome)
	for family, problem := range outcome {
		was, known := before[family]
		switch {
		case known && was == problem:
		case problem == "":
			c.events.Eventf(svc, corev1.EventTypeNormal, "TopologyAwareHintsEnabled",
				"Topology Aware Hints has been enabled, addressType: %s", family)
		default:
			c.events.Eventf(svc, corev1.EventTypeWarning, "TopologyAwareHintsDisabled", "%s, addressType: %s", problem, family)
		}
	}
}
