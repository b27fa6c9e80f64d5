// Package upstream runs Kubernetes' own controllers of StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers and
// PodDisruptionBudgets, each from when there is an object of its kind: a cluster without Jobs pays a watch for them and no more.
package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/kubernetes/pkg/controller/cronjob"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/disruption"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/replication"
	"k8s.io/kubernetes/pkg/controller/statefulset"
	"k8s.io/kubernetes/pkg/controller/ttlafterfinished"
)

const (
	// workers is how many objects of a kind are worked on at once: upstream's --concurrent-*-syncs.
	workers = 5
	// burst is how many pods of one object are made at once at the most.
	burst = 500
)

// Controllers are those of kinds that are not ours. Make them with New, run them with Run.
type Controllers struct {
	config *rest.Config
	client kubernetes.Interface
	shared informers.SharedInformerFactory
	log    *slog.Logger
	awake  []chan struct{} // for each row, closed when there is an object of its kind
}

// runner is what upstream's controllers are.
type runner interface {
	Run(ctx context.Context, workers int)
}

// row is a kind and what works on it.
type row struct {
	kind  string
	watch func(informers.SharedInformerFactory) cache.SharedIndexInformer
	start func(*Controllers, context.Context) ([]runner, error)
}

func table() []row {
	return []row{
		{"StatefulSet", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Apps().V1().StatefulSets().Informer()
		}, (*Controllers).statefulSets},
		{"DaemonSet", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Apps().V1().DaemonSets().Informer()
		}, (*Controllers).daemonSets},
		{"Job", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Batch().V1().Jobs().Informer()
		}, (*Controllers).jobs},
		{"CronJob", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Batch().V1().CronJobs().Informer()
		}, (*Controllers).cronJobs},
		{"ReplicationController", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Core().V1().ReplicationControllers().Informer()
		}, (*Controllers).replicationControllers},
		{"PodDisruptionBudget", func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Policy().V1().PodDisruptionBudgets().Informer()
		}, (*Controllers).budgets},
	}
}

// New has shared watch the kinds. The controllers share what else shared watches.
func New(config *rest.Config, client kubernetes.Interface, shared informers.SharedInformerFactory, log *slog.Logger) (*Controllers, error) {
	c := &Controllers{config: config, client: client, shared: shared, log: log}
	for _, r := range table() {
		woken := make(chan struct{})
		wake := sync.OnceFunc(func() { close(woken) })
		if _, err := r.watch(shared).AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { wake() }}); err != nil {
			return nil, fmt.Errorf("%s: %w", r.kind, err)
		}
		c.awake = append(c.awake, woken)
	}
	return c, nil
}

// Run works until ctx ends.
func (c *Controllers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, r := range table() {
		group.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-c.awake[i]:
			}
			c.log.Info("the first object of its kind: its controller starts", "kind", r.kind)
			return c.run(ctx, r)
		})
	}
	return group.Wait()
}

func (c *Controllers) run(ctx context.Context, r row) error {
	all, err := r.start(c, ctx)
	if err != nil {
		return fmt.Errorf("controller of %s: %w", r.kind, err)
	}
	c.shared.Start(ctx.Done()) // what nobody has watched before
	var group errgroup.Group
	for _, one := range all {
		group.Go(func() error {
			one.Run(ctx, workers)
			return nil
		})
	}
	return group.Wait()
}

func (c *Controllers) statefulSets(ctx context.Context) ([]runner, error) {
	apps, core := c.shared.Apps().V1(), c.shared.Core().V1()
	return []runner{statefulset.NewStatefulSetController(ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(), apps.ControllerRevisions(), c.client)}, nil
}

func (c *Controllers) daemonSets(ctx context.Context) ([]runner, error) {
	apps, core := c.shared.Apps().V1(), c.shared.Core().V1()
	failures := flowcontrol.NewBackOff(time.Second, 15*time.Minute)
	d, err := daemon.NewDaemonSetsController(ctx, apps.DaemonSets(), apps.ControllerRevisions(), core.Pods(), core.Nodes(), c.client, failures)
	return []runner{d}, err
}

func (c *Controllers) jobs(ctx context.Context) ([]runner, error) {
	batch := c.shared.Batch().V1()
	j, err := job.NewController(ctx, c.client, c.shared.Core().V1().Pods(), batch.Jobs(), nil, nil)
	return []runner{j, ttlafterfinished.New(ctx, batch.Jobs(), c.client)}, err
}

func (c *Controllers) cronJobs(ctx context.Context) ([]runner, error) {
	batch := c.shared.Batch().V1()
	j, err := cronjob.NewControllerV2(ctx, batch.Jobs(), batch.CronJobs(), c.client)
	return []runner{j}, err
}

func (c *Controllers) replicationControllers(ctx context.Context) ([]runner, error) {
	core := c.shared.Core().V1()
	return []runner{replication.NewReplicationManager(ctx, core.Pods(), core.ReplicationControllers(), c.client, burst)}, nil
}

func (c *Controllers) budgets(ctx context.Context) ([]runner, error) {
	kinds := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	scales, err := scale.NewForConfig(c.config, kinds, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(c.client.Discovery()))
	if err != nil {
		return nil, err
	}
	apps, core := c.shared.Apps().V1(), c.shared.Core().V1()
	return []runner{disruption.NewDisruptionController(ctx, core.Pods(), c.shared.Policy().V1().PodDisruptionBudgets(), core.ReplicationControllers(),
		apps.ReplicaSets(), apps.Deployments(), apps.StatefulSets(), c.client, kinds, scales, c.client.Discovery())}, nil
}
