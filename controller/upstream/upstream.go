// Package upstream runs Kubernetes' own controllers of StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers and
// PodDisruptionBudgets, each from when there is an object of its kind: a cluster without Jobs pays nothing for them.
package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
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
	first  func(context.Context, schema.GroupResource) error
}

// runner is what upstream's controllers are.
type runner interface {
	Run(ctx context.Context, workers int)
}

// row is a kind and what works on it.
type row struct {
	kind  schema.GroupResource
	start func(*Controllers, context.Context) ([]runner, error)
}

func table() []row {
	return []row{
		{schema.GroupResource{Group: "apps", Resource: "statefulsets"}, (*Controllers).statefulSets},
		{schema.GroupResource{Group: "apps", Resource: "daemonsets"}, (*Controllers).daemonSets},
		{schema.GroupResource{Group: "batch", Resource: "jobs"}, (*Controllers).jobs},
		{schema.GroupResource{Group: "batch", Resource: "cronjobs"}, (*Controllers).cronJobs},
		{schema.GroupResource{Resource: "replicationcontrollers"}, (*Controllers).replicationControllers},
		{schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, (*Controllers).budgets},
	}
}

// New returns controllers that share what shared watches. Whether there is an object of a kind they learn from first, which returns
// when there is, or when its context ends.
func New(config *rest.Config, client kubernetes.Interface, shared informers.SharedInformerFactory, first func(context.Context, schema.GroupResource) error, log *slog.Logger) *Controllers {
	return &Controllers{config: config, client: client, shared: shared, first: first, log: log}
}

// Run works until ctx ends.
func (c *Controllers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range table() {
		group.Go(func() error {
			if err := c.first(ctx, r.kind); err != nil {
				return fmt.Errorf("whether there are %s: %w", r.kind, err)
			}
			if ctx.Err() != nil {
				return nil
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
