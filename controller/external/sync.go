package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/kube"
)

// sync brings the objects of one Service into the state that its annotations and the replies ask for.
func (c *Controller) sync(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	v := c.view(key)
	c.mu.Lock()
	verdict := c.monitor.Observe(key, v, time.Now())
	c.mu.Unlock()
	c.look()
	if verdict.Wait > 0 {
		return verdict.Wait, nil
	}
	if err = c.write(ctx, verdict.Writes); err == nil {
		c.metrics.wrote(verdict.Writes)
	}
	for _, e := range verdict.Events {
		if err == nil || !e.Written {
			c.events.Event(v.Service, e.Type, e.Reason, e.Message)
		}
	}
	return 0, err
}

// write brings a plan into the API. Each object is written on its own; a conflict means that the plan is old, as does an object
// that is gone.
func (c *Controller) write(ctx context.Context, w healthcheck.Writes) error {
	if w.Endpoints != nil {
		if _, err := c.client.CoreV1().Endpoints(w.Endpoints.Namespace).Update(ctx, w.Endpoints, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("endpoints %s: %w", w.Endpoints.Name, late(err))
		}
	}
	for _, slice := range w.Slices {
		if _, err := c.client.DiscoveryV1().EndpointSlices(slice.Namespace).Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("endpoint slice %s: %w", slice.Name, late(err))
		}
	}
	return nil
}

// late marks that an object is gone as what the cache will show in a moment.
func late(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w for the cache: %w", kube.ErrWaiting, err)
	}
	return err
}
