package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// keepNode makes this machine a node and reports its state. Should somebody delete the Node while the agent runs, it registers
// again.
func (a *Agent) keepNode(ctx context.Context) error {
	for first := true; ; first = false {
		cidrs, err := a.join(ctx, first)
		if err != nil {
			return err
		}
		err = a.reportNodes(ctx, cidrs)
		if !apierrors.IsNotFound(err) {
			return err
		}
		a.log.Warn("the node was deleted and is registered again; to have it leave, end its agent first", "node", a.cfg.Name)
	}
}

// join registers the node, connects its pods' network when it has got its ranges of addresses, and returns those.
func (a *Agent) join(ctx context.Context, first bool) ([]netip.Prefix, error) {
	node, err := a.register(ctx)
	if err != nil {
		return nil, err
	}
	if first {
		a.events.Event(a.nodeReference(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	}
	cidrs, err := a.podCIDRs(ctx, node)
	if err != nil {
		return nil, err
	}
	if err := a.rt.WriteCNI(cidrs, 0); err != nil {
		return nil, err
	}
	return cidrs, a.retry(ctx, "its containerd", func() error {
		if problem := a.runtimeProblem(ctx); problem != "" {
			return errors.New(problem)
		}
		return nil
	})
}

// reportNodes reports the node's state until the context ends or the Node is gone. What tells the runtime how pods are connected is
// looked after as well: without it no pod could start any more.
func (a *Agent) reportNodes(ctx context.Context, cidrs []netip.Prefix) error {
	var told time.Time
	for {
		if err := a.rt.WriteCNI(cidrs, 0); err != nil {
			a.log.Warn("how pods are connected cannot be written", "error", err)
		}
		err := a.retry(ctx, "its status to be taken by the API server", func() error {
			err := a.reportNode(ctx, &told)
			if apierrors.IsNotFound(err) {
				return &final{err}
			}
			return err
		})
		if err != nil {
			return err
		}
		if !wait(ctx, statusPeriod) {
			return ctx.Err()
		}
	}
}

// final is an error that trying again does not change.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// The pauses between tries of what has to succeed: the first, the longest, and that from which on it is told.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = unreachable
	toldPause  = 300 * time.Millisecond
)

// retry calls f until it succeeds or its error is final, after longer and longer pauses. What it waits for is told to who asks why
// the node is not ready, and once in the log. It returns the last error when the context ends.
func (a *Agent) retry(ctx context.Context, what string, f func() error) error {
	told := ""
	var last *string
	for delay := firstPause; ; delay = min(2*delay, lastPause) {
		err := f()
		var end *final
		if err == nil || errors.As(err, &end) {
			a.waiting.CompareAndSwap(last, nil)
			return err
		}
		reason := fmt.Sprintf("waits for %s: %v", what, err)
		last = &reason
		a.waiting.Store(last)
		if delay >= toldPause && reason != told && ctx.Err() == nil {
			a.log.Warn("the node "+reason, "node", a.cfg.Name)
			told = reason
		}
		if !wait(ctx, delay) {
			return err
		}
	}
}

// Waiting says what keeps the node from being ready, if anything does.
func (a *Agent) Waiting() string {
	if reason := a.waiting.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Ready is closed when the API server has first taken from this agent that the node is ready.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// labels are the well-known labels of this node.
func (a *Agent) labels() map[string]string {
	return map[string]string{
		corev1.LabelHostname:             a.cfg.Name,
		corev1.LabelOSStable:             runtime.GOOS,
		corev1.LabelArchStable:           runtime.GOARCH,
		"beta." + corev1.LabelOSStable:   runtime.GOOS,
		"beta." + corev1.LabelArchStable: runtime.GOARCH,
	}
}

// register creates the Node object, or brings the labels of an existing one up to date. Its range of pod addresses stays.
func (a *Agent) register(ctx context.Context) (*corev1.Node, error) {
	var node *corev1.Node
	err := a.retry(ctx, "its registration", func() error {
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
	err := a.retry(ctx, "a range of pod addresses", func() error {
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
	a.judge(want.Conditions)
	return nil
}

// judge tells who waits for the node that it is ready, or why it is not.
func (a *Agent) judge(reported []corev1.NodeCondition) {
	for _, c := range reported {
		switch {
		case c.Type != corev1.NodeReady:
		case c.Status == corev1.ConditionTrue:
			a.waiting.Store(nil)
			a.readyOnce.Do(func() { close(a.ready) })
		default:
			a.waiting.Store(&c.Message)
		}
	}
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
