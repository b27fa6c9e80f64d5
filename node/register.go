package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
)

// Periods of the node's reports (kubelet): the state is measured every 10 s and told when it has changed, or every 5 minutes; the
// lease, by which the node is known to be alive, is renewed every 10 s and holds for 40 s.
const (
	statusPeriod   = 10 * time.Second
	unreachable    = 2 * time.Second // the longest wait for an API server that does not answer
	statusReport   = 5 * time.Minute
	leasePeriod    = 10 * time.Second
	leaseSeconds   = 40
	leaseNamespace = corev1.NamespaceNodeLease
)

// keepNode registers the node, connects its pods' network when it has got its ranges of addresses, and reports its state.
func (a *Agent) keepNode(ctx context.Context) error {
	node, err := a.register(ctx)
	if err != nil {
		return err
	}
	a.events.Event(a.nodeReference(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	cidrs, err := a.podCIDRs(ctx, node)
	if err != nil {
		return err
	}
	if err := a.rt.WriteCNI(cidrs, 0); err != nil {
		return err
	}
	retry(ctx, func() error {
		if problem := a.runtimeProblem(ctx); problem != "" {
			return fmt.Errorf("%s", problem)
		}
		return nil
	})
	var told time.Time
	var delay time.Duration
	for {
		if err := a.reportNode(ctx, &told); err != nil && ctx.Err() == nil {
			limit := unreachable
			if apierrors.IsNotFound(err) {
				limit = statusPeriod // somebody has deleted the Node: that does not pass by itself
			}
			if again := life.Grow(delay, 200*time.Millisecond, limit); again != delay {
				delay = again
				a.log.Warn("the node's status cannot be reported", "error", err, "again", delay)
			}
			wait(ctx, delay)
			continue
		}
		delay = 0
		if !wait(ctx, statusPeriod) {
			return ctx.Err()
		}
	}
}

// retry calls f until it succeeds, after 5 ms, 10 ms and so on up to 500 ms. It returns the last error when the context ends.
func retry(ctx context.Context, f func() error) error {
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, 500*time.Millisecond) {
		err := f()
		if err == nil || !wait(ctx, delay) {
			return err
		}
	}
}

// labels are the well-known labels of this node and those it was given.
func (a *Agent) labels() map[string]string {
	labels := map[string]string{
		corev1.LabelHostname:             a.cfg.Name,
		corev1.LabelOSStable:             runtime.GOOS,
		corev1.LabelArchStable:           runtime.GOARCH,
		"beta." + corev1.LabelOSStable:   runtime.GOOS,
		"beta." + corev1.LabelArchStable: runtime.GOARCH,
	}
	maps.Copy(labels, a.cfg.Labels)
	return labels
}

// register creates the Node object, or brings the labels of an existing one up to date. Its range of pod addresses stays.
func (a *Agent) register(ctx context.Context) (*corev1.Node, error) {
	var node *corev1.Node
	err := retry(ctx, func() error {
		nodes := a.client.CoreV1().Nodes()
		created, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.cfg.Name, Labels: a.labels()}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			patch, encodeErr := json.Marshal(map[string]any{"metadata": map[string]any{"labels": a.labels()}})
			if encodeErr != nil {
				return encodeErr
			}
			created, err = nodes.Patch(ctx, a.cfg.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
		if err != nil {
			a.log.Debug("the node cannot be registered yet", "error", err)
			return err
		}
		node = created
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register node %s: %w", a.cfg.Name, err)
	}
	return node, nil
}

// podCIDRs waits until the node has a range of pod addresses of each family it has an address of.
func (a *Agent) podCIDRs(ctx context.Context, node *corev1.Node) ([]netip.Prefix, error) {
	var cidrs []netip.Prefix
	err := retry(ctx, func() error {
		var err error
		if cidrs, err = rangesLike(a.cfg.IPs, node.Spec.PodCIDRs); err == nil {
			return nil
		}
		got, failed := a.client.CoreV1().Nodes().Get(ctx, a.cfg.Name, metav1.GetOptions{})
		if failed == nil {
			node = got
		}
		return errors.Join(err, failed)
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", a.cfg.Name, err)
	}
	return cidrs, nil
}

// rangesLike picks from the ranges one of the family of each address, in the addresses' order.
func rangesLike(addrs []netip.Addr, ranges []string) ([]netip.Prefix, error) {
	var picked []netip.Prefix
	for _, a := range addrs {
		for _, text := range ranges {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() == a.Is4() {
				picked = append(picked, p)
				break
			}
		}
	}
	if len(picked) < len(addrs) {
		return nil, fmt.Errorf("ranges of pod addresses %v, one for each of %v is needed", ranges, addrs)
	}
	return picked, nil
}

// reportNode measures the node and patches its status when something has changed, or when the last report is old.
func (a *Agent) reportNode(ctx context.Context, told *time.Time) error {
	node, err := a.client.CoreV1().Nodes().Get(ctx, a.cfg.Name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	version, err := a.engine.Version(ctx, &runtimeapi.VersionRequest{})
	engine := "containerd://unknown"
	if err == nil {
		engine = version.RuntimeName + "://" + version.RuntimeVersion
	}
	images, err := a.rt.Images(ctx)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("the node's images cannot be listed", "error", err)
	}
	now := time.Now()
	want := nodeStatus(&node.Status, a.cfg, measure(a.cfg.Dir), readiness(a.runtimeProblem(ctx)), engine, images, now)
	if now.Sub(*told) < statusReport && sameNodeStatus(&node.Status, &want) {
		return nil
	}
	before, err := json.Marshal(corev1.Node{Status: node.Status})
	if err != nil {
		return err
	}
	after, err := json.Marshal(corev1.Node{Status: want})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Node{})
	if err != nil {
		return err
	}
	if _, err := a.client.CoreV1().Nodes().Patch(ctx, a.cfg.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	*told = now
	return nil
}

// sameNodeStatus compares without the times of heartbeats.
func sameNodeStatus(a, b *corev1.NodeStatus) bool {
	plain := func(s *corev1.NodeStatus) *corev1.NodeStatus {
		s = s.DeepCopy()
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
		return s
	}
	return equality.Semantic.DeepEqual(plain(a), plain(b))
}

// keepLease renews the node's lease.
func (a *Agent) keepLease(ctx context.Context) error {
	leases := a.client.CoordinationV1().Leases(leaseNamespace)
	var held *coordinationv1.Lease
	var delay time.Duration
	for {
		var err error
		if held == nil {
			held, err = leases.Get(ctx, a.cfg.Name, metav1.GetOptions{})
		}
		switch {
		case apierrors.IsNotFound(err):
			held, err = leases.Create(ctx, a.renewed(&coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: a.cfg.Name, Namespace: leaseNamespace, OwnerReferences: a.nodeOwner(ctx)},
			}), metav1.CreateOptions{})
		case err == nil:
			held, err = leases.Update(ctx, a.renewed(held), metav1.UpdateOptions{})
		}
		if err == nil {
			delay = 0
			wait(ctx, leasePeriod)
		} else if held, delay = nil, life.Grow(delay, 200*time.Millisecond, unreachable); wait(ctx, delay) {
			a.log.Debug("the node's lease cannot be renewed", "error", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// renewed is the lease with the present time.
func (a *Agent) renewed(lease *coordinationv1.Lease) *coordinationv1.Lease {
	next, now, seconds := lease.DeepCopy(), metav1.NowMicro(), int32(leaseSeconds)
	next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds, next.Spec.RenewTime = &a.cfg.Name, &seconds, &now
	return next
}

// nodeOwner makes the lease go with the node.
func (a *Agent) nodeOwner(ctx context.Context) []metav1.OwnerReference {
	node, err := a.client.CoreV1().Nodes().Get(ctx, a.cfg.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
}
