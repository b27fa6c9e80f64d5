package nodestatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// keepNode makes this machine a node and reports its state. Should somebody delete the Node while the agent runs, it registers
// again.
func (r *Reporter) keepNode(ctx context.Context) error {
	for first := true; ; first = false {
		cidrs, err := r.join(ctx, first)
		if err != nil {
			return err
		}
		err = r.reportStatus(ctx, cidrs)
		if !apierrors.IsNotFound(err) {
			return err
		}
		r.log.Warn("the node was deleted and is registered again; to have it leave, end its agent first", "node", r.cfg.Name)
	}
}

// join registers the node, connects its pods' network when it has got its ranges of addresses, and returns those.
func (r *Reporter) join(ctx context.Context, first bool) ([]netip.Prefix, error) {
	node, err := r.register(ctx)
	if err != nil {
		return nil, err
	}
	if first {
		r.events.Event(r.Reference(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	}
	cidrs, err := r.podCIDRs(ctx, node)
	if err != nil {
		return nil, err
	}
	if err := r.containerd.WriteCNI(cidrs, 0); err != nil {
		return nil, err
	}
	return cidrs, r.retry(ctx, "its containerd", func() error {
		if problem := r.runtime.NotReady(ctx); problem != "" {
			return errors.New(problem)
		}
		return nil
	})
}

// labels are the well-known labels of this node.
func (r *Reporter) labels() map[string]string {
	return map[string]string{
		corev1.LabelHostname:             r.cfg.Name,
		corev1.LabelOSStable:             runtime.GOOS,
		corev1.LabelArchStable:           runtime.GOARCH,
		"beta." + corev1.LabelOSStable:   runtime.GOOS,
		"beta." + corev1.LabelArchStable: runtime.GOARCH,
	}
}

// register creates the Node object, or brings the labels of an existing one up to date. Its range of pod addresses stays.
func (r *Reporter) register(ctx context.Context) (*corev1.Node, error) {
	var node *corev1.Node
	err := r.retry(ctx, "its registration", func() error {
		nodes := r.client.CoreV1().Nodes()
		created, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.cfg.Name, Labels: r.labels()}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			patch, encodeErr := json.Marshal(map[string]any{"metadata": map[string]any{"labels": r.labels()}})
			if encodeErr != nil {
				return encodeErr
			}
			created, err = nodes.Patch(ctx, r.cfg.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
		if err != nil {
			return err
		}
		node = created
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register node %s: %w", r.cfg.Name, err)
	}
	return node, nil
}

// podCIDRs waits until the node has a range of pod addresses of each family it has an address of.
func (r *Reporter) podCIDRs(ctx context.Context, node *corev1.Node) ([]netip.Prefix, error) {
	var cidrs []netip.Prefix
	err := r.retry(ctx, "a range of pod addresses", func() error {
		var err error
		if cidrs, err = rangesLike(r.cfg.IPs, node.Spec.PodCIDRs); err == nil {
			return nil
		}
		got, failed := r.client.CoreV1().Nodes().Get(ctx, r.cfg.Name, metav1.GetOptions{})
		if failed == nil {
			node = got
		}
		return errors.Join(err, failed)
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", r.cfg.Name, err)
	}
	return cidrs, nil
}

// Reference names the node as the object of an event. Upstream uses the name as the uid, and kubectl describe looks for that.
func (r *Reporter) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Node", Name: r.cfg.Name, UID: types.UID(r.cfg.Name)}
}
