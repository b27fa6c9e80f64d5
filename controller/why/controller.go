package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external"
	"fairlead.dev/fairlead/controller/why/reported"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/why"
)

// Component is the source of the Events.
const Component = "fairlead-why"

const (
	// settle is how long after a change a Service is looked at: changes that come together are looked at together.
	settle = time.Second
	// firstLook is over how many times as long the first look at everything is spread when the program starts.
	firstLook = 10
	// recallFor is how long after the start what is wrong is taken to have been wrong before.
	recallFor = 30 * time.Second
	// Events of all Services together: so many at once, then one in each interval.
	burst    = 50
	interval = time.Second
)

// Controller posts an Event on each Service with which something is wrong.
type Controller struct {
	client  kubernetes.Interface
	log     *slog.Logger
	cluster why.Cluster // its ranges
	queue   *kube.Queue[types.NamespacedName]
	events  record.EventRecorder // set by Run
	settle  time.Duration
	after   func(time.Duration) time.Duration // what becomes of why.Finding.After; tests are in a hurry

	// The caches. Objects in them are shared and never mutated.
	services, pods, endpoints, slices, namespaces, nodes cache.SharedIndexInformer
	listed                                               []cache.DoneChecker

	troubled endpoints.Selectors // of the Services in known

	mu     sync.Mutex // guards below
	known  map[types.NamespacedName]*reported.Memory
	before map[reported.Key]bool // by an earlier run of the program; nil some time after the start
	limit  reported.RateLimit
}

// New returns a Controller over the shared informers, which the caller starts, that posts Events with client. The ranges are those
// of pods and of cluster addresses. It starts nothing itself.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, pods, cluster []netip.Prefix, log *slog.Logger) *Controller {
	c := &Controller{
		client: client, log: log, cluster: why.Cluster{Pods: pods, Services: cluster}, settle: settle,
		after:      func(d time.Duration) time.Duration { return d },
		services:   shared.Core().V1().Services().Informer(),
		pods:       shared.Core().V1().Pods().Informer(),
		endpoints:  shared.Core().V1().Endpoints().Informer(),
		slices:     shared.Discovery().V1().EndpointSlices().Informer(),
		namespaces: shared.Core().V1().Namespaces().Informer(),
		nodes:      shared.Core().V1().Nodes().Informer(),
		queue:      kube.NewQueue[types.NamespacedName]("why", settle, log),
		known:      map[types.NamespacedName]*reported.Memory{},
		limit:      reported.RateLimit{Interval: interval, Burst: burst},
	}
	for _, err := range []error{
		endpoints.Index(c.pods, c.slices), external.Index(c.slices),
		c.services.AddIndexers(cache.Indexers{servicesByAddress: indexByAddress}),
	} {
		if err != nil {
			panic(fmt.Sprintf("BUG: why: %v", err)) // the informers were started before New
		}
	}
	c.listed = []cache.DoneChecker{c.namespaces.HasSyncedChecker()}
	c.listed = append(c.listed, c.watch()...)
	return c
}

// Run posts Events until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.events = kube.Recorder(ctx, c.client, corev1.EventSource{Component: Component})
	if !cache.WaitFor(ctx, "", c.listed...) {
		return nil
	}
	c.recall(ctx)
	c.queue.Work(ctx, 1, func(_ context.Context, key types.NamespacedName) (time.Duration, error) { return c.sync(key), nil })
	return nil
}

// recall reads what was reported before the program started, so that it is not reported again. Events are kept for an hour.
func (c *Controller) recall(ctx context.Context) {
	said, err := kube.Posted(ctx, c.client, Component)
	if err != nil {
		c.log.Warn("what was reported before is not known, and will be reported again", "err", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = make(map[reported.Key]bool, len(said))
	for i := range said {
		e := &said[i]
		c.before[reported.Key{UID: e.InvolvedObject.UID, Code: e.Reason}] = true
	}
	time.AfterFunc(recallFor, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.before = nil
	})
}

// sync looks at one Service, and reports what is wrong with it when that is due. It says when to look again.
func (c *Controller) sync(key types.NamespacedName) (again time.Duration) {
	v := c.view(key)
	found := c.hurried(why.Findings(v))
	now := time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.known[key]
	if len(found) == 0 {
		if m != nil {
			delete(c.known, key)
			c.troubled.Set(key, nil)
		}
		return 0
	}
	if m == nil {
		m = &reported.Memory{}
		c.known[key] = m
	}
	if v.Service != nil && api.Selects(v.Service) {
		c.troubled.Set(key, v.Service.Spec.Selector)
	} else {
		c.troubled.Set(key, nil)
	}
	object, uid := object(v)
	next := m.Observe(uid, found, c.before, now)
	if !next.IsZero() && !next.After(now) && m.Slot.IsZero() {
		slot, free := c.limit.Slot(now)
		if next = slot; free {
			m.Slot = slot
		}
	} else if m.Slot.After(next) {
		next = m.Slot
	}
	switch {
	case next.IsZero():
	case next.After(now):
		again = next.Sub(now) + time.Millisecond
	default:
		m.Slot = time.Time{}
		c.nearMisses(&v)
		for _, f := range m.Due(c.hurried(why.Findings(v)), now) {
			kind := corev1.EventTypeWarning
			if f.Harmless {
				kind = corev1.EventTypeNormal
			}
			c.events.Event(object, kind, f.Code, f.Message())
		}
		again = time.Millisecond // there may be more, later
	}
	return again
}

func (c *Controller) hurried(found []why.Finding) []why.Finding {
	for i := range found {
		found[i].After = c.after(found[i].After)
	}
	return found
}

// object is what the Events are about: the Service, or what has none.
func object(v why.View) (runtime.Object, types.UID) {
	switch {
	case v.Service != nil:
		return v.Service, v.Service.UID
	case v.Endpoints != nil:
		return v.Endpoints, v.Endpoints.UID
	case len(v.Slices) > 0:
		return v.Slices[0], v.Slices[0].UID
	}
	return nil, ""
}
