package guard

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/world"
)

// Config says what a Guard is for.
type Config struct {
	NodeName string
	// First returns when there may be a NetworkPolicy, or when its context ends, and calls none before it waits; nil: the Guard watches
	// from the start.
	First func(ctx context.Context, none func()) error
	// Metrics is where the Guard registers its metrics; nil for nowhere.
	Metrics prometheus.Registerer
}

// Guard keeps the policies of a node's pods in the kernel. Make one with New.
type Guard struct {
	cfg     Config
	follow  Follow
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // pods were admitted or have ended

	mu       sync.Mutex // guards below
	free     bool       // there is no policy: nobody waits
	admitted map[types.UID]*admitted
	ended    []*corev1.Pod // what the agent has let go since the loop looked
	done     chan struct{} // closed, and made anew, whenever the kernel is up to date
}

// admitted is a pod of this node as its agent knows it.
type admitted struct {
	pod     *corev1.Pod // with its addresses
	written bool        // its policies are in the kernel
	taken   bool        // the loop has taken it in
}

// Follow fills a World with some kinds, as World.Follow does with a client, until ctx ends.
type Follow func(ctx context.Context, w *world.World, wanted ...world.Kind) error

// New returns a Guard that reads by follow. It does nothing until Run.
func New(cfg Config, follow Follow, log *slog.Logger) *Guard {
	g := &Guard{cfg: cfg, follow: follow, log: log, metrics: newMetrics(), wake: make(chan struct{}, 1), admitted: map[types.UID]*admitted{}, done: make(chan struct{})}
	if cfg.Metrics != nil {
		g.metrics.register(cfg.Metrics)
	}
	return g
}

// Admit waits until a pod's containers may be started: the policies that select it are in the kernel, for the addresses that its sandbox
// has. It may be called for each container. It returns ctx's error if that takes too long.
func (g *Guard) Admit(ctx context.Context, pod *corev1.Pod, addrs []netip.Addr) error {
	if pod.Spec.HostNetwork {
		return nil
	}
	a := g.admit(pod, addrs)
	for {
		g.mu.Lock()
		ready, done := a.written || g.free, g.done
		g.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("the network policies of pod %s are not in the kernel yet: %w", api.Name(pod), ctx.Err())
		}
	}
}

// admit notes a pod's addresses. One that is known with the same is left as it is.
func (g *Guard) admit(pod *corev1.Pod, addrs []netip.Addr) *admitted {
	known := api.PodPeer(pod)
	known.Spec.NodeName = g.cfg.NodeName
	known.Status = corev1.PodStatus{}
	for _, a := range addrs {
		known.Status.PodIPs = append(known.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.admitted[pod.UID]; was != nil && slices.Equal(was.pod.Status.PodIPs, known.Status.PodIPs) {
		return was
	}
	a := &admitted{pod: known}
	g.admitted[pod.UID] = a
	g.signal()
	return a
}

// Release tells that nothing of a pod runs any more.
func (g *Guard) Release(pod types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.admitted[pod]; a != nil {
		delete(g.admitted, pod)
		g.ended = append(g.ended, a.pod)
		g.signal()
	}
}

func (g *Guard) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Run does the Guard's work in the network namespace of the calling goroutine's thread until ctx is done, which is not an error. It
// leaves the tables behind.
func (g *Guard) Run(ctx context.Context) error {
	k, err := open()
	if err != nil {
		return fmt.Errorf("network policies: %w", err)
	}
	defer k.close()
	if g.cfg.First != nil {
		if err := g.cfg.First(ctx, func() { g.rest(ctx, k) }); err != nil || ctx.Err() != nil {
			return err
		}
		g.mu.Lock()
		g.free = false
		g.mu.Unlock()
	}
	policies := world.New()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.follow(ctx, policies, world.NetworkPolicies) // ends with ctx
	}()
	defer func() { <-ended }()
	select {
	case <-policies.Synced():
	case <-ctx.Done():
		return nil
	}
	changes := policies.Subscribe(world.NetworkPolicies)
	defer changes.Close()
	for ctx.Err() == nil {
		if len(policies.NetworkPolicies()) > 0 {
			g.enforce(ctx, k, policies)
			continue
		}
		g.rest(ctx, k)
		select {
		case <-changes.Wake():
			changes.Take()
		case <-ctx.Done():
		}
	}
	return nil
}

// rest is how it is without policies.
func (g *Guard) rest(ctx context.Context, k *kernel) {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := k.tables.remove()
		if err == nil {
			break
		}
		g.log.Error("cannot remove the rules of network policies; trying again", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free, g.ended = true, nil
	g.told()
}

// told wakes who waits for the kernel. The caller holds mu.
func (g *Guard) told() {
	close(g.done)
	g.done = make(chan struct{})
}

// How long to wait after failures.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)
