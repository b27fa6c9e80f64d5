package nodes

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/nodes/lifecycle"
	"fairlead.dev/fairlead/kube"
)

const (
	// nodeIndex finds pods by the name of their node.
	nodeIndex = "nodes/node"
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = time.Minute
)

// everyNode is the key of all nodes together, in own.
const everyNode = ""

// Controller looks after the nodes.
type Controller struct {
	client   kubernetes.Interface
	podCIDRs []netip.Prefix
	metrics  *metrics
	log      *slog.Logger

	nodes, leases, pods cache.SharedIndexInformer
	listed              []cache.DoneChecker
	nodeQueue           *kube.Queue[string]
	podQueue            *kube.Queue[types.NamespacedName]
	dnsQueue            *kube.Queue[string]  // of one key, the empty one
	events              record.EventRecorder // set by Run

	own kube.OwnWrites[string, *corev1.Node] // the nodes that were allocated CIDRs, all together: a CIDR is one node's

	mu       sync.Mutex // guards below
	gaps     lifecycle.GapDetector
	observed map[string]time.Time      // by node: when a sign of life of its agent was last observed, by our clock
	unready  map[string]bool           // nodes that stopped being ready and whose pods are not marked yet
	released map[string][]netip.Prefix // by node: the CIDRs of one that was deleted, in case it comes back
	orphans  map[types.UID]time.Time   // pods whose node does not exist: since when
}

// New returns a Controller over the shared informers, which the caller starts.
// podCIDRs are the ranges all nodes' CIDRs are cut from, the primary family
// first. What it counts is registered with metrics, unless that is nil. It starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, podCIDRs []netip.Prefix, metrics prometheus.Registerer, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, podCIDRs: podCIDRs, log: log, metrics: newMetrics(),
		nodes:     shared.Core().V1().Nodes().Informer(),
		leases:    shared.Coordination().V1().Leases().Informer(),
		pods:      shared.Core().V1().Pods().Informer(),
		nodeQueue: kube.NewQueue[string]("node-lifecycle", lastRetry, log),
		podQueue:  kube.NewQueue[types.NamespacedName]("pod-eviction", lastRetry, log),
		dnsQueue:  kube.NewQueue[string]("cluster-dns", lastRetry, log),
		observed:  map[string]time.Time{}, unready: map[string]bool{}, released: map[string][]netip.Prefix{},
		orphans: map[types.UID]time.Time{},
		own: kube.OwnWrites[string, *corev1.Node]{Shows: func(cached, asked *corev1.Node) bool {
			return len(api.PodRanges(cached)) >= len(api.PodRanges(asked))
		}},
	}
	if err := c.pods.AddIndexers(cache.Indexers{nodeIndex: indexNode}); err != nil {
		panic(fmt.Sprintf("BUG: nodes: %v", err)) // the informer was started before New
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(c.nodes, c.nodeChanged), kube.Watch(c.leases, c.leaseChanged), kube.Watch(c.pods, c.podChanged),
	}
	c.register(metrics)
	return c
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "node-controller"})
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	c.dnsQueue.Add("")
	var queues sync.WaitGroup
	queues.Go(func() { c.nodeQueue.Work(ctx, 1, c.syncNode) }) // one worker: CIDRs are allocated one after the other
	queues.Go(func() { c.podQueue.Work(ctx, 1, c.syncPod) })
	queues.Go(func() { c.detectGaps(ctx) })
	queues.Go(func() { c.dnsQueue.Work(ctx, 1, c.syncNameServers) })
	queues.Wait()
	return nil
}

func indexNode(obj any) ([]string, error) {
	if p, ok := obj.(*corev1.Pod); ok && p.Spec.NodeName != "" {
		return []string{p.Spec.NodeName}, nil
	}
	return nil, nil
}
