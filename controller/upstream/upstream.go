// Package upstream runs Kubernetes' own controllers: of StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers,
// PodDisruptionBudgets and HorizontalPodAutoscalers, of certificates that are asked for, and of the types in admission policies; each from when there is an object
// of its kind: a cluster without Jobs pays nothing for them.
package upstream

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/pki"
)

// workers is how many objects of a kind are worked on at once: upstream's --concurrent-*-syncs.
const workers = 5

// Controllers are those of kinds that are not ours. Make them with New, run them with Run.
type Controllers struct {
	config *rest.Config
	client kubernetes.Interface
	shared informers.SharedInformerFactory
	ca     *pki.Authority
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

	also  schema.GroupResource                      // another kind, an object of which is as good a reason to start; none: there is none
	first func(*Controllers, context.Context) error // waits for the first object that the controllers are about; nil: it is any of the kind
}

func table() []row {
	return []row{
		{kind: schema.GroupResource{Group: "apps", Resource: "statefulsets"}, start: (*Controllers).statefulSets},
		{kind: schema.GroupResource{Group: "apps", Resource: "daemonsets"}, start: (*Controllers).daemonSets},
		{kind: schema.GroupResource{Group: "batch", Resource: "jobs"}, start: (*Controllers).jobs},
		{kind: schema.GroupResource{Group: "batch", Resource: "cronjobs"}, start: (*Controllers).cronJobs},
		{kind: schema.GroupResource{Resource: "replicationcontrollers"}, start: (*Controllers).replicationControllers},
		{kind: schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, start: (*Controllers).budgets},
		{kind: schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}, start: (*Controllers).autoscalers},
		{kind: schema.GroupResource{Resource: "persistentvolumeclaims"}, also: schema.GroupResource{Resource: "persistentvolumes"}, start: (*Controllers).binding},
		{kind: schema.GroupResource{Resource: "persistentvolumeclaims"}, also: schema.GroupResource{Resource: "persistentvolumes"}, start: (*Controllers).protection},
		{kind: schema.GroupResource{Group: "storage.k8s.io", Resource: "volumeattributesclasses"}, start: (*Controllers).attributesProtection},
		{kind: schema.GroupResource{Resource: "pods"}, first: (*Controllers).firstEphemeral, start: (*Controllers).ephemeralVolumes},
		{kind: schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}, start: (*Controllers).signing},
		{kind: schema.GroupResource{Group: "certificates.k8s.io", Resource: "podcertificaterequests"}, start: (*Controllers).podCertificates},
		{kind: schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"}, start: (*Controllers).policies},
	}
}

// New returns controllers that share what shared watches, and sign with ca. Whether there is an object of a kind they learn from first,
// which returns when there is, or when its context ends.
func New(config *rest.Config, client kubernetes.Interface, shared informers.SharedInformerFactory, ca *pki.Authority, first func(context.Context, schema.GroupResource) error, log *slog.Logger) *Controllers {
	return &Controllers{config: config, client: client, shared: shared, ca: ca, first: first, log: log}
}

// Run works until ctx ends.
func (c *Controllers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range table() {
		group.Go(func() error {
			if err := c.await(ctx, r); err != nil {
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

// await waits until there is something for a row's controllers to work on. It returns when ctx ends, too.
func (c *Controllers) await(ctx context.Context, r row) error {
	if r.first != nil {
		return r.first(c, ctx)
	}
	if r.also.Resource == "" {
		return c.first(ctx, r.kind)
	}
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	var both errgroup.Group
	for _, kind := range []schema.GroupResource{r.kind, r.also} {
		both.Go(func() error {
			defer cancel()
			return c.first(either, kind)
		})
	}
	return both.Wait()
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
