package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/gateway"
)

// syncService makes the Service of a Gateway what it should be. What others have added to it stays.
func (c *Controller) syncService(ctx context.Context, g *gateway.Gateway) error {
	name := gateway.ServiceName(g.Object)
	have, want := kube.Cached[corev1.Service](c.services, name), g.Service()
	switch {
	case have != nil && (!gateway.Owns(g.Object, have) || have.DeletionTimestamp != nil || !c.written.shown(have)):
		return nil // somebody else's, which the Gateway's status says, or to be looked at again when it has changed
	case want == nil && have == nil:
		return nil
	case want == nil:
		err := c.client.CoreV1().Services(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("service %s: %w", name, err)
		}
		return nil
	}
	if asked := g.Asked(); len(asked) > 0 {
		want.Annotations[api.AnnotationAddresses] = strings.Join(asked, ",")
	}
	if have != nil && says(have, want) {
		return nil
	}
	return c.applyService(ctx, have, want)
}

// says reports whether a Service says what it should, and nothing that it was told before and should not any more.
func says(have, want *corev1.Service) bool {
	for _, a := range []string{api.AnnotationAddresses, api.AnnotationReads, gateway.AnnotationInfrastructure} {
		if have.Annotations[a] != want.Annotations[a] {
			return false
		}
	}
	if have.Spec.Type != want.Spec.Type || len(have.Spec.Ports) != len(want.Spec.Ports) {
		return false
	}
	for i, p := range want.Spec.Ports {
		h := have.Spec.Ports[i]
		if h.Name != p.Name || h.Port != p.Port || h.Protocol != p.Protocol {
			return false
		}
	}
	return contains(have.Labels, want.Labels) && contains(have.Annotations, want.Annotations)
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if h, ok := have[k]; !ok || h != v {
			return false
		}
	}
	return true
}

// applyService writes what a Service should say. One that is made now must not be somebody else's, who was faster.
func (c *Controller) applyService(ctx context.Context, have, want *corev1.Service) error {
	services := c.client.CoreV1().Services(want.Namespace)
	if have == nil {
		if _, err := services.Get(ctx, want.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return err // the cache will show it
		}
	} else {
		want.UID = have.UID
	}
	want.APIVersion, want.Kind = "v1", "Service"
	body, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("service %s/%s: %w", want.Namespace, want.Name, err)
	}
	answer, err := services.Patch(ctx, want.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: ptr.To(true)})
	if err != nil {
		return fmt.Errorf("service %s/%s: %w", want.Namespace, want.Name, err)
	}
	c.written.note(answer)
	return nil
}
