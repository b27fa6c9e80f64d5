package upstream

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
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

// burst is how many pods of one object are made at once at the most.
const burst = 500

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
	kinds := c.kinds()
	scales, err := scale.NewForConfig(c.config, kinds, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(c.client.Discovery()))
	if err != nil {
		return nil, err
	}
	apps, core := c.shared.Apps().V1(), c.shared.Core().V1()
	return []runner{disruption.NewDisruptionController(ctx, core.Pods(), c.shared.Policy().V1().PodDisruptionBudgets(), core.ReplicationControllers(),
		apps.ReplicaSets(), apps.Deployments(), apps.StatefulSets(), c.client, kinds, scales, c.client.Discovery())}, nil
}

// kinds finds out of which kind a resource is, custom ones included.
func (c *Controllers) kinds() meta.RESTMapper {
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
}
