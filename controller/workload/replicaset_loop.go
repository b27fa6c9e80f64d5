package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/workload/plan"
	"fairlead.dev/fairlead/kube"
)

// batchLimit bounds the creates in flight for one ReplicaSet.
const batchLimit = 32

// syncReplicaSet is one pass: plan, act, plan again from what was written, status.
func (c *Controller) syncReplicaSet(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	rs := kube.Cached[appsv1.ReplicaSet](c.sets, key)
	if rs == nil {
		return 0, nil
	}
	rs = kube.Latest(&c.ownSetSelf, rs)
	changes, err := c.planReplicaSet(rs)
	if err != nil {
		return 0, err
	}
	failed := c.applyReplicaSet(ctx, rs, changes)
	reason := "FailedCreate"
	if len(changes.Delete) > 0 {
		reason = "FailedDelete"
	}
	if changes, err = c.planReplicaSet(rs); err != nil {
		return 0, err
	}
	changes.Status.Conditions = plan.WithReplicaFailure(changes.Status.Conditions, reason, failed, time.Now())
	if err := c.writeSetStatus(ctx, rs, changes.Status); err != nil {
		return 0, errors.Join(failed, err)
	}
	return changes.Recheck, failed
}

func (c *Controller) planReplicaSet(rs *appsv1.ReplicaSet) (plan.ReplicaSetChanges, error) {
	pods, err := view(c.pods, &c.ownPods, rs)
	if err != nil {
		return plan.ReplicaSetChanges{}, err
	}
	related, err := c.relatedPods(rs)
	if err != nil {
		return plan.ReplicaSetChanges{}, err
	}
	return plan.ReplicaSet(rs, pods, related, time.Now())
}

// relatedPods are the pods of all ReplicaSets of the same Deployment.
func (c *Controller) relatedPods(rs *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil {
		return owned[*corev1.Pod](c.pods, string(rs.UID))
	}
	siblings, err := owned[*appsv1.ReplicaSet](c.sets, string(ref.UID))
	if err != nil {
		return nil, err
	}
	return c.podsOfSets(siblings)
}

// applyReplicaSet does what the plan says. Everything accepted by the server is
// noted in ownPods.
func (c *Controller) applyReplicaSet(ctx context.Context, rs *appsv1.ReplicaSet, changes plan.ReplicaSetChanges) error {
	if len(changes.Adopt) > 0 {
		if err := c.stillThere(ctx, rs); err != nil {
			return err
		}
	}
	for _, p := range changes.Adopt {
		if err := c.patchPod(ctx, rs, p, plan.AdoptPatch(rs, plan.ReplicaSetKind, p.UID)); err != nil {
			return fmt.Errorf("adopt pod %s: %w", p.Name, err)
		}
	}
	for _, p := range changes.Release {
		if err := c.patchPod(ctx, rs, p, plan.ReleasePatch(rs.UID, p.UID)); err != nil {
			return fmt.Errorf("release pod %s: %w", p.Name, err)
		}
	}
	if err := slowStart(changes.Create, func() error { return c.createPod(ctx, rs) }); err != nil {
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil // everything here is about to go
		}
		return err
	}
	var failed error
	for _, p := range changes.Delete {
		failed = errors.Join(failed, c.deletePod(ctx, rs, p))
	}
	return failed
}

// stillThere asks the server, not the cache, whether rs may adopt.
func (c *Controller) stillThere(ctx context.Context, rs *appsv1.ReplicaSet) error {
	live, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Get(ctx, rs.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("adopt: %w", err)
	case live.UID != rs.UID:
		return fmt.Errorf("adopt: original ReplicaSet %s/%s is gone: got uid %s, wanted %s", rs.Namespace, rs.Name, live.UID, rs.UID)
	case live.DeletionTimestamp != nil:
		return fmt.Errorf("adopt: %s/%s has just been deleted at %s", rs.Namespace, rs.Name, live.DeletionTimestamp)
	}
	return nil
}

// patchPod changes the pod's owner references. A pod that is gone, or is another
// by now, needs no patch.
func (c *Controller) patchPod(ctx context.Context, rs *appsv1.ReplicaSet, p *corev1.Pod, patch []byte) error {
	got, err := c.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.ownPods.Wrote(rs.UID, got)
	return nil
}

func (c *Controller) createPod(ctx context.Context, rs *appsv1.ReplicaSet) error {
	p, err := c.client.CoreV1().Pods(rs.Namespace).Create(ctx, plan.NewPod(rs), metav1.CreateOptions{})
	if err != nil {
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			c.setEvents.Eventf(rs, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
		}
		return err
	}
	c.ownPods.Wrote(rs.UID, p)
	c.setEvents.Eventf(rs, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", p.Name)
	return nil
}

func (c *Controller) deletePod(ctx context.Context, rs *appsv1.ReplicaSet, p *corev1.Pod) error {
	err := c.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		c.setEvents.Eventf(rs, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("delete pod %s: %w", p.Name, err)
	}
	c.ownPods.Deleted(rs.UID, p.UID, time.Now())
	if err == nil {
		c.setEvents.Eventf(rs, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", p.Name)
	}
	return nil
}

// writeSetStatus writes the status if it says something new.
func (c *Controller) writeSetStatus(ctx context.Context, rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	if apiequality.Semantic.DeepEqual(rs.Status, status) {
		return nil
	}
	next := rs.DeepCopy()
	next.Status = status
	got, err := c.client.AppsV1().ReplicaSets(rs.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	c.ownSetSelf.Wrote(rs.UID, got)
	return nil
}

// slowStart calls create n times in batches of 1, 2, 4, ... and stops after the
// first batch with an error, so that a set whose pods are refused (by quota or
// policy) asks once rather than n times (rule D24).
func slowStart(n int, create func() error) error {
	for size := 1; n > 0; size = min(2*size, batchLimit) {
		size = min(size, n)
		errs := make([]error, size)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = create() })
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		n -= size
	}
	return nil
}
