package loadbalancer

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/kube"
)

const (
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = 30 * time.Second
	// writers is how many statuses are written at a time.
	writers = 8
)

// everything is the only key of the queue: addresses are given in one pass over all Services.
const everything = "services"

// Config says what the cluster is made of.
type Config struct {
	Pods, Services []netip.Prefix // the ranges of the cluster
	ExternalIPs    bool           // the server allows spec.externalIPs: their addresses are announced as well
	// Default is the pool of the name DefaultPool, which is kept as it is here; nil: it is not kept, and removed if it was.
	Default *kinds.AddressPoolSpec
}

// Controller gives Services their addresses. Make one with New.
type Controller struct {
	cfg    Config
	client kubernetes.Interface
	pools  *kube.Pools
	ask    Asker
	log    *slog.Logger
	queue  *kube.Queue[string]
	events record.EventRecorder // set by Run

	// The caches. Objects in them are shared and never mutated.
	services, slices, nodes, namespaces, poolCache cache.SharedIndexInformer
	listed                                         []cache.DoneChecker

	own  kube.OwnWrites[string, *corev1.Service] // the statuses, all together: an address is one Service's
	told map[string]string                       // what Events have said of where spec.externalIPs are announced; of the worker

	announcer announcer
	routers   routers
}

// New returns a Controller over the shared informers, which the caller starts, that writes with client and pools and asks the agents
// of nodes by ask. What it counts is registered with metrics, unless that is nil. It starts nothing itself.
func New(client kubernetes.Interface, pools *kube.Pools, shared informers.SharedInformerFactory, ask Asker, cfg Config, metrics prometheus.Registerer, log *slog.Logger) *Controller {
	c := &Controller{
		cfg: cfg, client: client, pools: pools, ask: ask, log: log,
		services:   shared.Core().V1().Services().Informer(),
		slices:     shared.Discovery().V1().EndpointSlices().Informer(),
		nodes:      shared.Core().V1().Nodes().Informer(),
		namespaces: shared.Core().V1().Namespaces().Informer(),
		poolCache:  kube.PoolInformer(pools),
		queue:      kube.NewQueue[string]("loadbalancer", lastRetry, log),
		own:        kube.OwnWrites[string, *corev1.Service]{Shows: func(cached, asked *corev1.Service) bool { return sameStatus(cached, asked) }},
		told:       map[string]string{},
		announcer:  announcer{work: make(chan struct{}, 1)},
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(c.services, func(before, after *corev1.Service, _ bool) {
			for _, svc := range kube.Versions(before, after) {
				c.wakeIf(concerned(svc))
			}
		}),
		kube.Watch(c.slices, func(before, after *discoveryv1.EndpointSlice, _ bool) {
			for _, s := range kube.Versions(before, after) {
				svc := kube.Cached[corev1.Service](c.services, api.ServiceOf(s))
				c.wakeIf(svc != nil && concerned(svc) && local(svc))
			}
		}),
		kube.Watch(c.nodes, func(before, after *corev1.Node, _ bool) {
			c.wakeIf(before == nil || after == nil || !maps.Equal(before.Labels, after.Labels) || !equality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses))
		}),
		kube.Watch(c.namespaces, func(before, after *corev1.Namespace, _ bool) {
			c.wakeIf(before != nil && after != nil && !maps.Equal(before.Labels, after.Labels))
		}),
		kube.Watch(c.poolCache, func(_, _ *kinds.AddressPool, _ bool) { c.wakeIf(true) }),
	}
	if metrics != nil {
		metrics.MustRegister(onDemand{c})
	}
	return c
}

func (c *Controller) wakeIf(concerned bool) {
	if concerned {
		c.queue.Add(everything)
	}
}

// concerned reports whether a Service has, or may get, an address of ours, or has one to be announced.
func concerned(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer || len(svc.Spec.ExternalIPs) > 0 || len(svc.Status.Conditions) > 0
}

// local reports whether a Service is served only by nodes that have its endpoints.
func local(svc *corev1.Service) bool {
	return svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: "loadbalancer"})
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { c.poolCache.RunWithContext(ctx) })
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	c.announcer.start(time.Now())
	loops.Go(func() { c.converse(ctx) })
	c.queue.Add(everything)
	c.queue.Work(ctx, 1, c.pass)
	return nil
}
