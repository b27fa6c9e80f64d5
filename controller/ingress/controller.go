package ingress

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"

	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/controller/ingress/plan"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/ingress"
)

// Component is the source of the Events, and the manager of the status.
const Component = "fairlead-ingress"

const (
	// settle is how long after a change people are told of what it has made wrong: changes that come together are judged together.
	settle = time.Second
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = 30 * time.Second
	// writers is how many statuses are written at a time.
	writers = 16
	// eventsPerSecond and eventsAtOnce bound what is told of all Ingresses together.
	eventsPerSecond, eventsAtOnce = 5, 50
)

// everything is a key of the queues, for no Ingress: what is known is to be brought up to date.
var everything types.NamespacedName

// Follows are the followers of what Ingresses name, which the caller runs.
type Follows struct {
	Secrets    Objects[*corev1.Secret]
	ConfigMaps Objects[*corev1.ConfigMap]
}

// Objects follows objects of a kind by name, and lets them be read.
type Objects[T any] interface {
	Run(ctx context.Context) error
	Want(names []types.NamespacedName)
	Get(name types.NamespacedName) (found T, known bool)
	Changed() <-chan struct{}
}

// Controller looks after Ingresses. Make one with New.
type Controller struct {
	client  kubernetes.Interface
	classes []string
	follows Follows
	log     *slog.Logger
	settle  time.Duration
	now     func() time.Time

	// The caches. Objects in them are shared and never mutated.
	ingresses, ingressClasses, services, nodes cache.SharedIndexInformer
	listed                                     []cache.DoneChecker

	statuses, reports *kube.Queue[types.NamespacedName]
	events            record.EventRecorder // set by Run
	pace              flowcontrol.RateLimiter
	own               kube.OwnWrites[types.UID, *networkingv1.Ingress] // statuses

	mu        sync.Mutex // guards below
	builder   *ingress.Builder
	refs      *ingressrefs.Index // of the Ingresses that are served
	pending   ingress.Changes
	addresses []netip.Addr
	said      map[types.NamespacedName]*said
	before    map[event]bool // Events of an earlier life of the program
}

// said is what has been said of the Ingress with a UID.
type said struct {
	uid types.UID
	of  plan.Memory
}

// event is one that was posted.
type event struct {
	uid             types.UID
	reason, message string
}

// New returns a Controller over the shared informers, which the caller starts. classes are the names of those IngressClasses that are
// to exist and be ours, the first of them the default one; none: no node serves Ingresses, and none gets an address. It starts
// nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, follows Follows, classes []string, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, classes: classes, follows: follows, log: log, settle: settle, now: time.Now,
		ingresses:      shared.Networking().V1().Ingresses().Informer(),
		ingressClasses: shared.Networking().V1().IngressClasses().Informer(),
		services:       shared.Core().V1().Services().Informer(),
		nodes:          shared.Core().V1().Nodes().Informer(),
		statuses:       kube.NewQueue[types.NamespacedName]("ingress-status", lastRetry, log),
		reports:        kube.NewQueue[types.NamespacedName]("ingress-events", lastRetry, log),
		pace:           flowcontrol.NewTokenBucketRateLimiter(eventsPerSecond, eventsAtOnce),
		refs:           ingressrefs.NewIndex(),
		said:           map[types.NamespacedName]*said{},
	}
	c.builder = ingress.NewBuilder(ingress.World{
		Ingress: func(name types.NamespacedName) *networkingv1.Ingress {
			return kube.Cached[networkingv1.Ingress](c.ingresses, name)
		},
		Class: func(name string) *networkingv1.IngressClass {
			return kube.Cached[networkingv1.IngressClass](c.ingressClasses, types.NamespacedName{Name: name})
		},
		Service: func(name types.NamespacedName) *corev1.Service { return kube.Cached[corev1.Service](c.services, name) },
	}, ingress.DefaultPorts)
	c.listed = c.watch()
	return c
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: Component})
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	c.recall(ctx)
	c.statuses.Add(everything)
	var loops sync.WaitGroup
	loops.Go(func() { c.keepClasses(ctx) })
	loops.Go(func() { c.follow(ctx) })
	loops.Go(func() { c.statuses.Work(ctx, writers, c.syncStatus) })
	loops.Go(func() { c.reports.Work(ctx, 1, c.report) })
	loops.Wait()
	return nil
}

// take brings the Builder up to date with what has changed, and queues the Ingresses that it concerns.
func (c *Controller) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.pending
	c.pending = ingress.Changes{}
	if len(changes.Ingresses)+len(changes.Services)+len(changes.Secrets)+len(changes.Classes) == 0 {
		return
	}
	concerned := c.builder.Update(changes).Ingresses
	for _, name := range concerned {
		c.statuses.Add(name)
		c.reports.AddAfter(name, c.settle)
	}
	c.refer(slices.Concat(changes.Ingresses, concerned))
}

// refer has exactly those Secrets and ConfigMaps followed that Ingresses name which are served. The caller holds mu.
func (c *Controller) refer(ingresses []types.NamespacedName) {
	others := false
	for _, name := range ingresses {
		ing := kube.Cached[networkingv1.Ingress](c.ingresses, name)
		if !c.builder.Served(name) {
			ing = nil
		}
		others = c.refs.Put(name, ing) || others
	}
	if others {
		secrets, configMaps := c.refs.Names()
		c.follows.Secrets.Want(secrets)
		c.follows.ConfigMaps.Want(configMaps)
	}
}
