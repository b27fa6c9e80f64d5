package nodestatus

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/life"
)

// keepLease renews the node's lease.
func (r *Reporter) keepLease(ctx context.Context) error {
	leases := r.client.CoordinationV1().Leases(leaseNamespace)
	var held *coordinationv1.Lease
	var delay time.Duration
	for {
		var err error
		if held == nil {
			held, err = leases.Get(ctx, r.cfg.Name, metav1.GetOptions{})
		}
		switch {
		case apierrors.IsNotFound(err):
			held, err = leases.Create(ctx, r.renewed(&coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: r.cfg.Name, Namespace: leaseNamespace, OwnerReferences: r.nodeOwner(ctx)},
			}), metav1.CreateOptions{})
		case err == nil:
			held, err = leases.Update(ctx, r.renewed(held), metav1.UpdateOptions{})
		}
		if err == nil {
			delay = 0
			kube.Sleep(ctx, leasePeriod)
		} else if held, delay = nil, life.Grow(delay, 200*time.Millisecond, unreachable); kube.Sleep(ctx, delay) {
			r.log.Debug("the node's lease cannot be renewed", "err", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// renewed is the lease with the present time.
func (r *Reporter) renewed(lease *coordinationv1.Lease) *coordinationv1.Lease {
	next, now, seconds := lease.DeepCopy(), metav1.NowMicro(), int32(leaseSeconds)
	next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds, next.Spec.RenewTime = &r.cfg.Name, &seconds, &now
	return next
}

// nodeOwner makes the lease go with the node.
func (r *Reporter) nodeOwner(ctx context.Context) []metav1.OwnerReference {
	node, err := r.client.CoreV1().Nodes().Get(ctx, r.cfg.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
}
