package ingress

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

// keepClasses makes the classes that are to be ours, once, however often that has to be tried.
func (c *Controller) keepClasses(ctx context.Context) {
	for _, name := range c.classes {
		for tries := 0; ; tries++ {
			err := c.keepClass(ctx, name)
			if err == nil {
				break
			}
			if tries == 0 {
				c.log.Warn("will try again", "err", err)
			}
			if !kube.Sleep(ctx, time.Second) {
				return
			}
		}
	}
}

// keepClass makes a class unless there is one of its name. The first is the default one, if no other is when it is made.
func (c *Controller) keepClass(ctx context.Context, name string) error {
	classes := c.client.NetworkingV1().IngressClasses()
	list, err := classes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("ingress class %s: %w", name, err)
	}
	for i := range list.Items {
		have := &list.Items[i]
		if have.Name != name {
			continue
		}
		if !api.ServesClass(have) {
			c.events.Eventf(have, corev1.EventTypeWarning, "ClassTaken", "this class is another controller's (%s), so its Ingresses are not served by %s. Delete the class and start again, or leave it out of --ingress-classes",
				have.Spec.Controller, api.IngressController)
		}
		return nil
	}
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: api.IngressController}}
	if name == c.classes[0] && api.DefaultClass(list.Items) == nil {
		class.Annotations = map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}
	}
	if _, err = classes.Create(ctx, class, metav1.CreateOptions{FieldManager: Component}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("ingress class %s: %w", name, err)
	}
	return nil
}
