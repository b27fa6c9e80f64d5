package apiserver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	client "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"
	listers "k8s.io/client-go/listers/flowcontrol/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/ensurer"
)

// fairness is upstream's priority and fairness: requests wait in lines by their FlowSchema, and each priority level has seats of its
// own, so that who asks too much waits for themselves.
type fairness struct {
	client  client.FlowcontrolV1Interface
	schemas listers.FlowSchemaLister
	levels  listers.PriorityLevelConfigurationLister
	synced  []cache.InformerSynced
}

// newFairness has c decide by the objects of the group.
func newFairness(c *genericapiserver.Config, own *self) *fairness {
	informers := own.informers.Flowcontrol().V1()
	f := &fairness{client: own.client.FlowcontrolV1(), schemas: informers.FlowSchemas().Lister(), levels: informers.PriorityLevelConfigurations().Lister(),
		synced: []cache.InformerSynced{informers.FlowSchemas().Informer().HasSynced, informers.PriorityLevelConfigurations().Informer().HasSynced}}
	c.FlowControl = flowcontrol.New(own.informers, f.client, c.MaxRequestsInFlight+c.MaxMutatingRequestsInFlight)
	return f
}

// addHook has the objects kept while api serves.
func (f *fairness) addHook(api *genericapiserver.GenericAPIServer, log *slog.Logger) {
	api.AddPostStartHookOrDie("fairlead-priority-and-fairness", func(hook genericapiserver.PostStartHookContext) error {
		go f.keep(hook, log)
		return nil
	})
}

// keepEvery is how often upstream's objects are looked after, in the caches.
const keepEvery = time.Minute

// keep makes upstream's objects, and makes them again when somebody deletes them, until ctx ends. What somebody changed of those
// that are only suggested stays. Until they are there the two that upstream has in code decide.
func (f *fairness) keep(ctx context.Context, log *slog.Logger) {
	if !cache.WaitForCacheSync(ctx.Done(), f.synced...) {
		return
	}
	for ctx.Err() == nil {
		next := keepEvery
		if err := f.ensure(ctx); err != nil && ctx.Err() == nil {
			log.Warn("objects of priority and fairness cannot be written yet", "err", err)
			next = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(next):
		}
	}
}

// ensure is upstream's order: what is suggested, what is mandatory, and then away with what an older release suggested.
func (f *fairness) ensure(ctx context.Context) error {
	levels := ensurer.NewPriorityLevelConfigurationOps(f.client.PriorityLevelConfigurations(), f.levels)
	schemas := ensurer.NewFlowSchemaOps(f.client.FlowSchemas(), f.schemas)
	return errors.Join(
		ensurer.EnsureConfigurations(ctx, levels, bootstrap.SuggestedPriorityLevelConfigurations, ensurer.NewSuggestedEnsureStrategy[*flowcontrolv1.PriorityLevelConfiguration]()),
		ensurer.EnsureConfigurations(ctx, schemas, bootstrap.SuggestedFlowSchemas, ensurer.NewSuggestedEnsureStrategy[*flowcontrolv1.FlowSchema]()),
		ensurer.EnsureConfigurations(ctx, levels, bootstrap.MandatoryPriorityLevelConfigurations, ensurer.NewMandatoryEnsureStrategy[*flowcontrolv1.PriorityLevelConfiguration]()),
		ensurer.EnsureConfigurations(ctx, schemas, bootstrap.MandatoryFlowSchemas, ensurer.NewMandatoryEnsureStrategy[*flowcontrolv1.FlowSchema]()),
		ensurer.RemoveUnwantedObjects(ctx, schemas, slices.Concat(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas)),
		ensurer.RemoveUnwantedObjects(ctx, levels, slices.Concat(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations)),
	)
}
