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

	"fairlead.dev/fairlead/kube"
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
	first  kube.First
}

// runner is what upstream's controllers are.
type runner interface {
	Run(ctx context.Context, workers int)
}

// row is some kinds and what works on them from the first object of one.
type row struct {
	kinds []schema.GroupResource
	start func(*Controllers, context.Context) ([]runner, error)
	first func(*Controllers, context.Context) error // waits for the first object that the controllers are about; nil: it is any of the kinds
}

func table() []row {
	return []row{
		{kinds: of("apps", "statefulsets"), start: (*Controllers).statefulSets},
		{kinds: of("apps", "daemonsets"), start: (*Controllers).daemonSets},
		{kinds: of("batch", "jobs"), start: (*Controllers).jobs},
		{kinds: of("batch", "cronjobs"), start: (*Controllers).cronJobs},
		{kinds: of("", "replicationcontrollers"), start: (*Controllers).replicationControllers},
		{kinds: of("policy", "poddisruptionbudgets"), start: (*Controllers).budgets},
		{kinds: of("autoscaling", "horizontalpodautoscalers"), start: (*Controllers).autoscalers},
		{kinds: of("", "persistentvolumeclaims", "persistentvolumes"), start: (*Controllers).binding},
		{kinds: of("", "persistentvolumeclaims", "persistentvolumes"), start: (*Controllers).protection},
		{kinds: of("storage.k8s.io", "volumeattributesclasses"), start: (*Controllers).attributesProtection},
		{kinds: of("", "pods"), first: (*Controllers).firstEphemeral, start: (*Controllers).ephemeralVolumes},
		{kinds: of("certificates.k8s.io", "certificatesigningrequests"), start: (*Controllers).signing},
		{kinds: of("certificates.k8s.io", "podcertificaterequests"), start: (*Controllers).podCertificates},
		{kinds: of("admissionregistration.k8s.io", "validatingadmissionpolicies"), start: (*Controllers).policies},
	}
}

// of are kinds of one group.
func of(group string, resources ...string) (kinds []schema.GroupResource) {
	for _, r := range resources {
		kinds = append(kinds, schema.GroupResource{Group: group, Resource: r})
	}
	return kinds
}

// New returns controllers that share what shared watches, and sign with ca. Whether there is an object of a kind they learn from first.
func New(config *rest.Config, client kubernetes.Interface, shared informers.SharedInformerFactory, ca *pki.Authority, first kube.First, log *slog.Logger) *Controllers {
	return &Controllers{config: config, client: client, shared: shared, ca: ca, first: first, log: log}
}

// Run works until ctx ends.
func (c *Controllers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range table() {
		group.Go(func() error {
			first := func() error { return c.first(ctx, r.kinds...) }
			if r.first != nil {
				first = func() error { return r.first(c, ctx) }
			}
			if err := first(); err != nil {
				return fmt.Errorf("whether there are %s: %w", r.kinds, err)
			}
			if ctx.Err() != nil {
				return nil
			}
			c.log.Info("the first object of its kind: its controller starts", "kinds", r.kinds)
			return c.run(ctx, r)
		})
	}
	return group.Wait()
}

func (c *Controllers) run(ctx context.Context, r row) error {
	all, err := r.start(c, ctx)
	if err != nil {
		return fmt.Errorf("controller of %s: %w", r.kinds, err)
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
