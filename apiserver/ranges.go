package apiserver

import (
	"context"
	"log/slog"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/apiserver/registry"
)

const (
	// rangeFinalizer keeps a ServiceCIDR while Services have addresses of it.
	rangeFinalizer = "networking.k8s.io/service-cidr-finalizer"
	// rangesRound is how often the ServiceCIDRs are looked at without a reason, rangesRetry after a failure.
	rangesRound, rangesRetry = time.Minute, time.Second
)

// ranges is what the storage of Services knows of the ranges of their addresses.
type ranges interface {
	RangesChanged() <-chan struct{}
	RangeNeeded(ctx context.Context, name string) (bool, error)
}

// keepRanges gives every ServiceCIDR its finalizer and its condition, and lets one that is being deleted go when no Service needs
// it (rule S30), until ctx ends.
func (k keeper) keepRanges(ctx context.Context, services rest.Storage, log *slog.Logger) {
	r, ok := services.(ranges)
	if !ok {
		return
	}
	for {
		wait := rangesRound
		if err := k.settleRanges(ctx, r); err != nil && ctx.Err() == nil {
			wait = rangesRetry
			log.Debug("a ServiceCIDR could not be seen to, trying again", "err", err)
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.RangesChanged():
		case <-next.C:
		}
		next.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// settleRanges sees to every ServiceCIDR once.
func (k keeper) settleRanges(ctx context.Context, r ranges) error {
	if err := k.keepGivenRanges(ctx); err != nil {
		return err
	}
	list, err := k.client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		c := &list.Items[i]
		if c.DeletionTimestamp == nil {
			err = k.keepRange(ctx, c)
		} else {
			err = k.endRange(ctx, r, c)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// keepGivenRanges keeps the ServiceCIDR of the ranges that the cluster was started with. One of other ranges is made anew, unless it
// only lacks the second.
func (k keeper) keepGivenRanges(ctx context.Context) error {
	want := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: registry.GivenRanges, Finalizers: []string{rangeFinalizer}}}
	for _, p := range k.cfg.ServiceCIDRs {
		want.Spec.CIDRs = append(want.Spec.CIDRs, p.Masked().String())
	}
	cidrs := k.client.NetworkingV1().ServiceCIDRs()
	have, err := cidrs.Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		have, err = cidrs.Create(ctx, want, metav1.CreateOptions{})
	case err != nil || slices.Equal(have.Spec.CIDRs, want.Spec.CIDRs):
	case len(want.Spec.CIDRs) == 2 && len(have.Spec.CIDRs) == 1 && have.Spec.CIDRs[0] == want.Spec.CIDRs[0]:
		have.Spec.CIDRs = want.Spec.CIDRs
		have, err = cidrs.Update(ctx, have, metav1.UpdateOptions{})
	default:
		have.Finalizers = nil
		if have, err = cidrs.Update(ctx, have, metav1.UpdateOptions{}); err == nil && have.DeletionTimestamp == nil {
			err = cidrs.Delete(ctx, want.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))})
		}
		if err == nil || apierrors.IsNotFound(err) {
			have, err = cidrs.Create(ctx, want, metav1.CreateOptions{})
		}
	}
	if err == nil && have.DeletionTimestamp == nil {
		err = k.keepRange(ctx, have)
	}
	return ignoreRace(err, "service CIDR", want.Name)
}

// keepRange gives a ServiceCIDR that is not being deleted what it must have.
func (k keeper) keepRange(ctx context.Context, c *networkingv1.ServiceCIDR) error {
	if !slices.Contains(c.Finalizers, rangeFinalizer) {
		c = c.DeepCopy()
		c.Finalizers = append(c.Finalizers, rangeFinalizer)
		var err error
		if c, err = k.client.NetworkingV1().ServiceCIDRs().Update(ctx, c, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return k.setReady(ctx, c, metav1.Condition{Status: metav1.ConditionTrue, Message: "Kubernetes Service CIDR is ready"})
}

// endRange lets a ServiceCIDR that is being deleted go, or says why it stays. No Service gets an address of it any more.
func (k keeper) endRange(ctx context.Context, r ranges, c *networkingv1.ServiceCIDR) error {
	needed, err := r.RangeNeeded(ctx, c.Name)
	switch {
	case err != nil || !slices.Contains(c.Finalizers, rangeFinalizer):
		return err
	case needed:
		return k.setReady(ctx, c, metav1.Condition{Status: metav1.ConditionFalse, Reason: networkingv1.ServiceCIDRReasonTerminating,
			Message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"})
	}
	c = c.DeepCopy()
	c.Finalizers = slices.DeleteFunc(c.Finalizers, func(f string) bool { return f == rangeFinalizer })
	_, err = k.client.NetworkingV1().ServiceCIDRs().Update(ctx, c, metav1.UpdateOptions{})
	return err
}

// setReady writes the condition Ready, unless it is so already.
func (k keeper) setReady(ctx context.Context, c *networkingv1.ServiceCIDR, ready metav1.Condition) error {
	ready.Type = networkingv1.ServiceCIDRConditionReady
	c = c.DeepCopy()
	if !meta.SetStatusCondition(&c.Status.Conditions, ready) {
		return nil
	}
	_, err := k.client.NetworkingV1().ServiceCIDRs().UpdateStatus(ctx, c, metav1.UpdateOptions{})
	return err
}
