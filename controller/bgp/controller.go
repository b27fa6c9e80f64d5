package bgp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/controller/bgp/report"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/pki/peer"
)

const (
	// interval is the pause between two questions to a node.
	interval = 3 * time.Second
	// askBound bounds one question, and atOnce how many are asked at a time.
	askBound = 2 * time.Second
	atOnce   = 16
	// maxAnswer bounds what a node tells.
	maxAnswer = 8 << 20
)

// Asker asks a node how its sessions are.
type Asker func(ctx context.Context, node *corev1.Node) ([]announce.Router, error)

// Controller keeps the statuses of BGPPeers. Make one with New.
type Controller struct {
	client kubernetes.Interface
	peers  *kube.Peers
	ask    Asker
	told   func(announce.Told)
	log    *slog.Logger
	events record.EventRecorder // set by Run

	nodes, cached cache.SharedIndexInformer
	listed        []cache.DoneChecker
	wake          chan struct{} // of capacity 1: a BGPPeer has changed
}

// New returns a Controller over the shared informers, which the caller starts, that writes with client and peers and asks by ask. told
// hears after every round which routers have been told of what. It starts nothing itself.
func New(client kubernetes.Interface, peers *kube.Peers, shared informers.SharedInformerFactory, ask Asker, told func(announce.Told), log *slog.Logger) *Controller {
	c := &Controller{client: client, peers: peers, ask: ask, told: told, log: log, nodes: shared.Core().V1().Nodes().Informer(), wake: make(chan struct{}, 1)}
	c.cached = cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return peers.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return peers.Watch(ctx, o)
		},
	}, &kinds.BGPPeer{}, 0, cache.Indexers{})
	c.listed = []cache.DoneChecker{
		kube.Watch(c.nodes, func(_, _ *corev1.Node, _ bool) {}),
		kube.Watch(c.cached, func(before, after *kinds.BGPPeer, _ bool) {
			if before == nil || after == nil || before.Generation != after.Generation {
				select {
				case c.wake <- struct{}{}:
				default:
				}
			}
		}),
	}
	return c
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "bgp"})
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { c.cached.RunWithContext(ctx) })
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	for {
		var again <-chan time.Time // never, without a BGPPeer
		if c.pass(ctx) {
			again = time.After(interval)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-again:
		}
	}
}

// pass asks the nodes, and writes what has changed. It reports whether there is any BGPPeer.
func (c *Controller) pass(ctx context.Context) bool {
	peers := objects[kinds.BGPPeer](c.cached)
	if len(peers) == 0 {
		c.told(announce.Told{})
		return false
	}
	answers := c.answers(ctx, peers)
	if ctx.Err() == nil {
		c.told(report.Told(answers))
	}
	for _, p := range peers {
		status := report.Status(p, answers, time.Now())
		if ctx.Err() != nil || equality.Semantic.DeepEqual(status, p.Status) {
			continue
		}
		next := p.DeepCopy()
		next.Status = status
		if _, err := c.peers.UpdateStatus(ctx, next, metav1.UpdateOptions{}); err != nil {
			if !kube.Expected(err) {
				c.log.Error("cannot write the status of a BGPPeer", "peer", p.Name, "err", err)
			}
			continue // it is computed anew with the next answers
		}
		if kind, reason, message := report.News(p.Status, status); kind != "" {
			c.events.Event(p, kind, reason, message)
		}
	}
	return true
}

// answers asks all nodes that some BGPPeer selects.
func (c *Controller) answers(ctx context.Context, peers []*kinds.BGPPeer) []report.Answer {
	var answers []report.Answer
	for _, n := range objects[corev1.Node](c.nodes) {
		for _, p := range peers {
			if p.Selects(n.Labels) {
				answers = append(answers, report.Answer{Node: n})
				break
			}
		}
	}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range answers {
		all.Go(func() error {
			a := &answers[i]
			var err error
			if a.Routers, err = c.ask(ctx, a.Node); err != nil {
				a.Failure = "its agent does not answer: " + err.Error()
			}
			return nil
		})
	}
	_ = all.Wait() // none fails
	return answers
}

func objects[T any](of cache.SharedIndexInformer) []*T {
	list := of.GetStore().List()
	all := make([]*T, 0, len(list))
	for _, o := range list {
		if t, ok := o.(*T); ok {
			all = append(all, t)
		}
	}
	return all
}

// Agents returns an Asker that asks the agents of nodes.
func Agents(agents *peer.Asker) Asker {
	return func(ctx context.Context, node *corev1.Node) (routers []announce.Router, err error) {
		ctx, cancel := context.WithTimeout(ctx, askBound)
		defer cancel()
		err = agents.Ask(ctx, node, announce.RoutersPath, nil, &routers, maxAnswer)
		return routers, err
	}
}
