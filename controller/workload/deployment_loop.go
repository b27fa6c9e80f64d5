package workload

import (
	"context"
	"encoding/json"
	"fmt"
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

// syncDeployment is one pass: plan, act, status.
func (c *Controller) syncDeployment(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	d := kube.Cached[appsv1.Deployment](c.deployments, key)
	if d == nil {
		return 0, nil
	}
	d = kube.Latest(&c.ownDeployments, d)
	sets, err := view(c.sets, &c.ownSets, d)
	if err != nil {
		return 0, err
	}
	for i, rs := range sets {
		sets[i] = kube.Latest(&c.ownSetSelf, rs)
	}
	pods, err := c.podsOf(d, sets)
	if err != nil {
		return 0, err
	}
	changes, err := plan.Deployment(d, sets, pods, time.Now())
	if err != nil {
		return 0, err
	}
	if err := c.applyDeployment(ctx, d, changes); err != nil {
		return 0, err
	}
	if d, err = c.writeRevision(ctx, d, changes.Revision); err != nil {
		return 0, err
	}
	return changes.Recheck, c.writeDeploymentStatus(ctx, d, changes.Status)
}

// podsOf reads the pods that a Recreate Deployment waits for.
func (c *Controller) podsOf(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	if d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		return nil, nil
	}
	return c.podsOfSets(sets)
}

// podsOfSets are all pods of some ReplicaSets.
func (c *Controller) podsOfSets(sets []*appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for _, rs := range sets {
		of, err := owned[*corev1.Pod](c.pods, string(rs.UID))
		if err != nil {
			return nil, err
		}
		pods = append(pods, of...)
	}
	return pods, nil
}

// applyDeployment does what the plan says; everything accepted by the server is
// noted in ownSets.
func (c *Controller) applyDeployment(ctx context.Context, d *appsv1.Deployment, changes plan.DeploymentChanges) error {
	if err := c.claimSets(ctx, d, changes); err != nil {
		return err
	}
	if changes.Create != nil {
		if err := c.createSet(ctx, d, changes); err != nil {
			return err
		}
	}
	for _, u := range changes.Update {
		got, err := c.client.AppsV1().ReplicaSets(d.Namespace).Update(ctx, u.Set, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("replicaset %s: %w", u.Set.Name, err)
		}
		c.ownSets.Wrote(d.UID, got)
		c.ownSetSelf.Wrote(got.UID, got)
		c.noteScale(d, got, u.From)
	}
	for _, rs := range changes.Delete {
		err := c.client.AppsV1().ReplicaSets(d.Namespace).Delete(ctx, rs.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(rs.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete replicaset %s: %w", rs.Name, err)
		}
		c.ownSets.Deleted(d.UID, rs.UID, time.Now())
	}
	return nil
}

// claimSets adopts and releases. Adoption asks the server first whether d is
// still there.
func (c *Controller) claimSets(ctx context.Context, d *appsv1.Deployment, changes plan.DeploymentChanges) error {
	if len(changes.Adopt) > 0 {
		live, err := c.client.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
		if live.UID != d.UID || live.DeletionTimestamp != nil {
			return fmt.Errorf("adopt: original Deployment %s/%s is gone", d.Namespace, d.Name)
		}
	}
	for _, rs := range changes.Adopt {
		if err := c.patchSet(ctx, d, rs, plan.AdoptPatch(d, plan.DeploymentKind, rs.UID)); err != nil {
			return fmt.Errorf("adopt replicaset %s: %w", rs.Name, err)
		}
	}
	for _, rs := range changes.Release {
		if err := c.patchSet(ctx, d, rs, plan.ReleasePatch(d.UID, rs.UID)); err != nil {
			return fmt.Errorf("release replicaset %s: %w", rs.Name, err)
		}
	}
	return nil
}

func (c *Controller) patchSet(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet, patch []byte) error {
	got, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Patch(ctx, rs.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.ownSets.Wrote(d.UID, got)
	return nil
}

// createSet creates the ReplicaSet of the present template. Its name is a hash of
// the template, so a second create meets the first one; the same name with
// another template is a collision, counted so that the next hash differs.
func (c *Controller) createSet(ctx context.Context, d *appsv1.Deployment, changes plan.DeploymentChanges) error {
	got, err := c.client.AppsV1().ReplicaSets(d.Namespace).Create(ctx, changes.Create, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.ownSets.Wrote(d.UID, got)
		c.noteScale(d, got, 0)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsAlreadyExists(err):
		return c.resolveCollision(ctx, d, changes)
	}
	status := changes.Status
	status.Conditions = withCreateError(status.Conditions, changes.Create.Name, err, time.Now())
	if werr := c.writeDeploymentStatus(ctx, d, status); werr != nil {
		return fmt.Errorf("%w (and %w)", err, werr)
	}
	c.deploymentEvents.Eventf(d, corev1.EventTypeWarning, plan.ReasonCreateError, "Failed to create new replica set %q: %v", changes.Create.Name, err)
	return err
}

func (c *Controller) resolveCollision(ctx context.Context, d *appsv1.Deployment, changes plan.DeploymentChanges) error {
	there, err := c.client.AppsV1().ReplicaSets(d.Namespace).Get(ctx, changes.Create.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("replicaset %s: %w", changes.Create.Name, err)
	}
	if metav1.IsControlledBy(there, d) && plan.SameTemplate(&there.Spec.Template, &d.Spec.Template) {
		c.ownSets.Wrote(d.UID, there)
		return nil
	}
	status := *d.Status.DeepCopy()
	if status.CollisionCount == nil {
		status.CollisionCount = new(int32)
	}
	*status.CollisionCount++
	if err := c.writeDeploymentStatus(ctx, d, status); err != nil {
		return err
	}
	return fmt.Errorf("replicaset %s already exists with another template or owner: the next name differs", changes.Create.Name)
}

// withCreateError replaces the Progressing condition by one that says why the new
// ReplicaSet could not be created.
func withCreateError(conditions []appsv1.DeploymentCondition, name string, err error, now time.Time) []appsv1.DeploymentCondition {
	out := []appsv1.DeploymentCondition{}
	at := metav1.NewTime(now)
	for _, c := range conditions {
		if c.Type != appsv1.DeploymentProgressing {
			out = append(out, c)
		}
	}
	return append(out, appsv1.DeploymentCondition{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: plan.ReasonCreateError,
		Message: fmt.Sprintf("Failed to create new replica set %q: %v", name, err), LastUpdateTime: at, LastTransitionTime: at,
	})
}

// noteScale records a changed size as an event, in the words of kubectl describe.
func (c *Controller) noteScale(d *appsv1.Deployment, rs *appsv1.ReplicaSet, from int32) {
	to, direction := plan.Replicas(rs), "up"
	switch {
	case to == from:
		return
	case to < from:
		direction = "down"
	}
	c.deploymentEvents.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, rs.Name, from, to)
}

// writeRevision keeps the Deployment's revision annotation, as upstream by way of the status: annotations
// that are changed otherwise raise the generation. It returns the newest
// version of d.
func (c *Controller) writeRevision(ctx context.Context, d *appsv1.Deployment, revision string) (*appsv1.Deployment, error) {
	if revision == "" || d.Annotations[plan.RevisionKey] == revision {
		return d, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": d.UID, "annotations": map[string]string{plan.RevisionKey: revision},
	}})
	if err != nil {
		return nil, fmt.Errorf("revision: %w", err)
	}
	got, err := c.client.AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("revision: %w", err)
	}
	c.ownDeployments.Wrote(d.UID, got)
	return got, nil
}

// writeDeploymentStatus writes the status if it says something new. A d that was
// changed by somebody else since the plan is refused by the server (conflict).
func (c *Controller) writeDeploymentStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus) error {
	if apiequality.Semantic.DeepEqual(d.Status, status) {
		return nil
	}
	next := d.DeepCopy()
	next.Status = status
	got, err := c.client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	c.ownDeployments.Wrote(d.UID, got)
	return nil
}
