package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"
	"k8s.io/utils/ptr"
)

// maxDisrupted is how many evictions may wait for a budget's controller to have seen them.
const maxDisrupted = 2000

// budgetsOf are the budgets of a pod's namespace that select it.
func (e eviction) budgetsOf(ctx context.Context, pod *corev1.Pod) ([]*policyv1.PodDisruptionBudget, error) {
	list, err := e.budgets.List(ctx, &internalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	var of []*policyv1.PodDisruptionBudget
	all := list.(*policyv1.PodDisruptionBudgetList).Items
	for i := range all {
		selector, err := metav1.LabelSelectorAsSelector(all[i].Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) { // one that cannot be read selects nothing
			of = append(of, &all[i])
		}
	}
	return of, nil
}

// unhealthyMayGo says whether a pod that is not ready may leave without the budget being asked.
func unhealthyMayGo(b *policyv1.PodDisruptionBudget) bool {
	return ptr.Deref(b.Spec.UnhealthyPodEvictionPolicy, "") == policyv1.AlwaysAllow ||
		b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// spendOne takes one disruption from a budget for a pod, or says why there is none.
func spendOne(b *policyv1.PodDisruptionBudget, pod string, now time.Time) error {
	switch {
	case b.Status.ObservedGeneration < b.Generation:
		return stillProcessed(b.Name)
	case b.Status.DisruptionsAllowed < 0:
		return overdrawn(b.Name, "pdb disruptions allowed is negative", "pdb disruptions allowed is negative")
	case len(b.Status.DisruptedPods) > maxDisrupted:
		return overdrawn(b.Name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
			"too many pending evictions not confirmed by PDB controller")
	case b.Status.DisruptionsAllowed == 0:
		return because(apierrors.NewTooManyRequests(violated, 0), exhausted(b))
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptionsAllowed == 0 {
		pdbhelper.UpdateDisruptionAllowedCondition(b)
	}
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	b.Status.DisruptedPods[pod] = metav1.NewTime(now)
	return nil
}

const violated = "Cannot evict pod as it would violate the pod's disruption budget."

// stillProcessed asks the client to try again when the budget's controller has seen the change.
func stillProcessed(budget string) error {
	return because(apierrors.NewTooManyRequests(violated, 10), fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget))
}

func overdrawn(budget, err, why string) error {
	return because(apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), budget, errors.New(err)),
		fmt.Sprintf("The disruption budget %s does not allow evicting pods currently: %s", budget, why))
}

// exhausted says why a budget allows no disruption. What it counts is not to be trusted while it could not be counted.
func exhausted(b *policyv1.PodDisruptionBudget) string {
	c := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition)
	denied := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case denied && c.Reason == policyv1.SyncFailedReason:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", b.Name, c.Message)
	case b.Status.CurrentHealthy <= b.Status.DesiredHealthy:
		return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy)
	case denied:
		return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", b.Name, c.Reason, c.Message)
	}
	return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", b.Name)
}

func because(err *apierrors.StatusError, why string) error {
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: why})
	return err
}
