package upstream

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/volume/ephemeral"
	"k8s.io/kubernetes/pkg/controller/volume/persistentvolume"
)

// compared is how often all claims and volumes are compared again: upstream's --pvclaimbinder-sync-period.
const compared = 15 * time.Second

// binding brings claims and volumes together, and says what becomes of volumes whose claim is gone. It has no plugins: who provides
// volumes, and removes them, is a provisioner of its own, as upstream calls everything that is not in its tree.
func (c *Controllers) binding(ctx context.Context) ([]runner, error) {
	core := c.shared.Core().V1()
	b, err := persistentvolume.NewController(ctx, persistentvolume.ControllerParameters{
		KubeClient: c.client, SyncPeriod: compared, EnableDynamicProvisioning: true,
		VolumeInformer: core.PersistentVolumes(), ClaimInformer: core.PersistentVolumeClaims(), ClassInformer: c.shared.Storage().V1().StorageClasses(),
		PodInformer: core.Pods(), NodeInformer: core.Nodes(),
	})
	return []runner{alone{b.Run}}, err
}

// ephemeralVolumes makes the claims of pods that bring their own.
func (c *Controllers) ephemeralVolumes(ctx context.Context) ([]runner, error) {
	core := c.shared.Core().V1()
	e, err := ephemeral.NewController(ctx, c.client, core.Pods(), core.PersistentVolumeClaims())
	return []runner{e}, err
}

// firstEphemeral waits for a pod that brings a claim of its own. The pods are those that other controllers watch anyway.
func (c *Controllers) firstEphemeral(ctx context.Context) error {
	found, cancel := context.WithCancel(ctx)
	defer cancel()
	pods := c.shared.Core().V1().Pods().Informer()
	handler, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) {
		if pod, ok := obj.(*corev1.Pod); ok && bringsClaim(pod) {
			cancel()
		}
	}})
	if err != nil {
		return err
	}
	c.shared.Start(ctx.Done())
	<-found.Done()
	return pods.RemoveEventHandler(handler)
}

func bringsClaim(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Ephemeral != nil {
			return true
		}
	}
	return false
}

// alone is a controller that decides itself how many of its objects are worked on at once.
type alone struct {
	run func(context.Context)
}

// Run is part of runner.
func (a alone) Run(ctx context.Context, _ int) { a.run(ctx) }
