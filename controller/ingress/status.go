package ingress

import (
	"bytes"
	"context"
	"fmt"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/ingress/plan"
	"fairlead.dev/fairlead/kube"
)

// syncStatus makes the addresses of an Ingress those of the nodes that serve it (rule I47), or takes them away if it is not ours
// any more.
func (c *Controller) syncStatus(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	c.take()
	cached := kube.Cached[networkingv1.Ingress](c.ingresses, key)
	if cached == nil {
		return 0, nil
	}
	c.mu.Lock()
	served, want := c.builder.Served(key), plan.Status(c.addresses)
	c.mu.Unlock()
	ing := kube.Latest(&c.own, cached)
	if !served {
		return 0, c.release(ctx, ing)
	}
	if ing.DeletionTimestamp != nil || equality.Semantic.DeepEqual(ing.Status.LoadBalancer, want) {
		return 0, nil
	}
	return 0, c.write(ctx, ing, want)
}

// release takes away the addresses of an Ingress that is not served any more, if they are ours: those that another controller has
// written are its own (rule I46). Who wrote them is in what the API keeps of managers, which the cache does not.
func (c *Controller) release(ctx context.Context, ing *networkingv1.Ingress) error {
	if len(ing.Status.LoadBalancer.Ingress) == 0 {
		return nil
	}
	live, err := c.client.NetworkingV1().Ingresses(ing.Namespace).Get(ctx, ing.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingress %s/%s: %w", ing.Namespace, ing.Name, err)
	}
	if live.UID != ing.UID || !ours(live) {
		return nil
	}
	return c.write(ctx, live, networkingv1.IngressLoadBalancerStatus{})
}

// ours reports whether this controller was the last to write an Ingress's addresses.
func ours(ing *networkingv1.Ingress) bool {
	for i := range ing.ManagedFields {
		m := &ing.ManagedFields[i]
		if m.Manager == Component && m.FieldsV1 != nil && bytes.Contains(m.FieldsV1.GetRawBytes(), []byte(`"f:loadBalancer"`)) {
			return true
		}
	}
	return false
}

// write writes the addresses of an Ingress at the version that was looked at.
func (c *Controller) write(ctx context.Context, ing *networkingv1.Ingress, status networkingv1.IngressLoadBalancerStatus) error {
	next := ing.DeepCopy()
	next.Status.LoadBalancer = status
	answer, err := c.client.NetworkingV1().Ingresses(ing.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: Component})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingress %s/%s: status: %w", ing.Namespace, ing.Name, err)
	}
	c.own.Wrote(ing.UID, answer)
	return nil
}
