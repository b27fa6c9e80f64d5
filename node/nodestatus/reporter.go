// Package nodestatus makes this machine a node of the API and keeps it one: it registers the Node, reports its state when that has
// changed, and renews the lease by which the node is known to be alive. What is reported is computed by pure functions (status.go)
// from measured facts (facts.go).
package nodestatus

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/kuberuntime"
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

// Config says which node this is.
type Config struct {
	Name string
	IPs  []netip.Addr // one of each family of the cluster, the primary first
	Dir  string       // whose file system holds the pods
	Port uint16       // of the agent's API
}

// Reporter reports one node.
type Reporter struct {
	cfg        Config
	containerd *cri.Runtime
	client     kubernetes.Interface
	log        *slog.Logger

	runtime *kuberuntime.Client  // set by Run
	events  record.EventRecorder // set by Run

	ready     chan struct{} // closed by readyOnce
	readyOnce sync.Once
	waiting   atomic.Pointer[string] // what keeps the node from being ready
}

// New makes a reporter; nothing is registered yet.
func New(cfg Config, containerd *cri.Runtime, client kubernetes.Interface, log *slog.Logger) *Reporter {
	return &Reporter{cfg: cfg, containerd: containerd, client: client, log: log, ready: make(chan struct{})}
}

// Run registers the node and reports it until the context is done.
func (r *Reporter) Run(ctx context.Context, runtime *kuberuntime.Client, events record.EventRecorder) error {
	r.runtime, r.events = runtime, events
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.keepNode(ctx) })
	g.Go(func() error { return r.keepLease(ctx) })
	return g.Wait()
}

// reportStatus reports the node's state until the context ends or the Node is gone. What tells the runtime how pods are connected is
// looked after as well: without it no pod could start any more.
func (r *Reporter) reportStatus(ctx context.Context, cidrs []netip.Prefix) error {
	var reported time.Time
	for {
		if err := r.containerd.WriteCNI(cidrs, 0); err != nil {
			r.log.Warn("how pods are connected cannot be written", "err", err)
		}
		err := r.retry(ctx, "its status to be taken by the API server", func() error {
			err := r.reportOnce(ctx, &reported)
			if apierrors.IsNotFound(err) {
				return &permanent{err}
			}
			return err
		})
		if err != nil {
			return err
		}
		if !kube.Sleep(ctx, statusPeriod) {
			return ctx.Err()
		}
	}
}

// reportOnce measures the node and patches its status when something has changed, or when the last report is old.
func (r *Reporter) reportOnce(ctx context.Context, reported *time.Time) error {
	node, err := r.client.CoreV1().Nodes().Get(ctx, r.cfg.Name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	version, err := r.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	runtimeVersion := "containerd://unknown"
	if err == nil {
		runtimeVersion = version.RuntimeName + "://" + version.RuntimeVersion
	}
	images, err := r.containerd.Images(ctx)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("the node's images cannot be listed", "err", err)
	}
	now := time.Now()
	want := nodeStatus(&node.Status, r.cfg, measure(r.cfg.Dir), readiness(r.runtime.NotReady(ctx)), runtimeVersion, images, now)
	if now.Sub(*reported) < statusReport && sameNodeStatus(&node.Status, &want) {
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
	if _, err := r.client.CoreV1().Nodes().Patch(ctx, r.cfg.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	*reported = now
	r.noteReady(want.Conditions)
	return nil
}

// noteReady tells who waits for the node that it is ready, or why it is not.
func (r *Reporter) noteReady(reported []corev1.NodeCondition) {
	switch c := api.NodeCondition(reported, corev1.NodeReady); {
	case c == nil:
	case c.Status == corev1.ConditionTrue:
		r.waiting.Store(nil)
		r.readyOnce.Do(func() { close(r.ready) })
	default:
		r.waiting.Store(&c.Message)
	}
}
