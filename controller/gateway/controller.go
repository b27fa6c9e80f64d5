package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/controller/gateway/definitions"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/gateway"
	"fairlead.dev/fairlead/network/world/gateways"
)

const (
	// lastRetry bounds the pause after which what has failed is tried again.
	lastRetry = 30 * time.Second
	// manager owns what is written by server-side apply.
	manager = "fairlead-gateway"
)

// Store tells of custom resources without a watch, which would have the API server keep what serves them, and stores what comes with
// the program without validating it anew at each first start.
type Store struct {
	Names    func(ctx context.Context, resource schema.GroupResource) ([]string, error)
	AwaitUse func(ctx context.Context, group string, resources []string, mine string) error
	// Preset and PresetObject store a definition and an object that come with the program, unless there are some of their names.
	Preset       func(ctx context.Context, definition []byte) error
	PresetObject func(ctx context.Context, resource schema.GroupResource, object *unstructured.Unstructured) error
}

// Controller looks after the objects of Gateway API. Make one with New.
type Controller struct {
	client kubernetes.Interface
	config *rest.Config
	store  Store
	ask    Asker
	log    *slog.Logger
	queue  *kube.Queue[struct{}] // of one key: everything
	events record.EventRecorder  // set by Run

	services, namespaces, slices, nodes cache.SharedIndexInformer
	awake                               atomic.Bool
	asked                               nodes

	// What follows exists once it is awake.
	group               rest.Interface
	objects             *gateways.Gateways
	secrets, configMaps cache.SharedIndexInformer
	memory              gateway.Memory
	written             versions
	settled             map[types.UID]gateway.RouteStatus // routes whose status was right, and what of
	unaddressed         map[types.UID]time.Time           // Gateways without an address, and since when; zero: that was told

	mu  sync.Mutex
	udp map[types.NamespacedName]bool // the Services that UDP ports lead to
}

// New returns a Controller over the shared informers, which the caller starts, that asks the agents of nodes by ask. It starts nothing
// itself.
func New(client kubernetes.Interface, config *rest.Config, shared informers.SharedInformerFactory, store Store, ask Asker, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, config: config, store: store, ask: ask, log: log, nodes: shared.Core().V1().Nodes().Informer(), queue: kube.NewQueue[struct{}]("gateway", lastRetry, log),
		services: shared.Core().V1().Services().Informer(), namespaces: shared.Core().V1().Namespaces().Informer(), slices: shared.Discovery().V1().EndpointSlices().Informer(),
		settled: map[types.UID]gateway.RouteStatus{}, unaddressed: map[types.UID]time.Time{}, udp: map[types.NamespacedName]bool{},
	}
	kube.Watch(c.services, c.serviceChanged)
	kube.Watch(c.namespaces, c.namespaceChanged)
	kube.Watch(c.slices, c.sliceChanged)
	return c
}

// Run works until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: manager})
	if !c.persist(ctx, "install", c.install) || !c.persist(ctx, "wait for a Gateway", c.sleep) || ctx.Err() != nil {
		return nil
	}
	if err := c.wake(); err != nil {
		return err
	}
	var all sync.WaitGroup
	all.Go(func() { c.objects.Run(ctx) })
	all.Go(func() { c.secrets.RunWithContext(ctx) })
	all.Go(func() { c.configMaps.RunWithContext(ctx) })
	if c.objects.Await(ctx) && cache.WaitFor(ctx, "", c.secrets.HasSyncedChecker(), c.configMaps.HasSyncedChecker(), c.services.HasSyncedChecker(),
		c.namespaces.HasSyncedChecker(), c.slices.HasSyncedChecker(), c.nodes.HasSyncedChecker()) {
		c.awake.Store(true)
		c.queue.Add(struct{}{})
		all.Go(func() { c.follow(ctx) })
		c.queue.Work(ctx, 1, func(ctx context.Context, _ struct{}) (time.Duration, error) { return c.pass(ctx) })
	}
	all.Wait()
	return nil
}

// persist tries until it succeeds or ctx is done; false is the latter.
func (c *Controller) persist(ctx context.Context, what string, do func(context.Context) error) bool {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, lastRetry) {
		err := do(ctx)
		if err == nil {
			return true
		}
		if pause > time.Second {
			c.log.Warn("will try again", "what", what, "err", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// install makes the definitions and the GatewayClass, where there are none.
func (c *Controller) install(ctx context.Context) error {
	foreign, err := definitions.Install(ctx, c.client.Discovery().RESTClient(), c.store.Preset)
	if err != nil {
		return err
	}
	for _, f := range foreign {
		c.log.Info("definition is somebody else's and is left alone", "definition", f.Name, "version", f.Version, "channel", f.Channel, "ours", definitions.Version)
	}
	names, err := c.store.Names(ctx, schema.GroupResource{Group: gw.GroupName, Resource: "gatewayclasses"})
	if err != nil || len(names) > 0 {
		return err
	}
	class, err := newClass(metav1.Now())
	if err != nil {
		return err
	}
	defer heap.Return() // of what the definitions took
	return c.store.PresetObject(ctx, schema.GroupResource{Group: gw.GroupName, Resource: "gatewayclasses"}, class)
}

// newClass is the GatewayClass of the program, with the status that it has.
func newClass(now metav1.Time) (*unstructured.Unstructured, error) {
	class := &gw.GatewayClass{TypeMeta: metav1.TypeMeta{APIVersion: gw.GroupVersion.String(), Kind: "GatewayClass"}}
	class.Name, class.Generation = gateway.Class, 1
	class.Spec.ControllerName, class.Spec.Description = gateway.Controller, new("Served by the nodes of the cluster")
	class.Status = gateway.Derive(&gateway.View{Classes: []*gw.GatewayClass{class}}, &gateway.Memory{}).Classes[0].Status(now)
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(class)
	return &unstructured.Unstructured{Object: object}, err
}

// sleep waits until there is something to do.
func (c *Controller) sleep(ctx context.Context) error {
	return c.store.AwaitUse(ctx, gw.GroupName, []string{"gateways", "gatewayclasses"}, gateway.Class)
}

// wake makes what watches.
func (c *Controller) wake() (err error) {
	if c.group, err = gateways.Client(c.config); err != nil {
		return err
	}
	if c.objects, err = gateways.New(c.config, true); err != nil {
		return err
	}
	own := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(onlyCertificates)).Core().V1()
	c.secrets, c.configMaps = own.Secrets().Informer(), own.ConfigMaps().Informer()
	again := func() { c.queue.Add(struct{}{}) }
	kube.Watch(c.secrets, func(_, _ *corev1.Secret, _ bool) { again() })
	kube.Watch(c.configMaps, func(_, _ *corev1.ConfigMap, _ bool) { again() })
	return nil
}

// follow begins a pass when an object of Gateway API has changed.
func (c *Controller) follow(ctx context.Context) {
	for {
		select {
		case <-c.objects.Changed():
			c.queue.Add(struct{}{})
		case <-ctx.Done():
			return
		}
	}
}
