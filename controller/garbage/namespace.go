package garbage

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/garbage/content"
	"fairlead.dev/fairlead/kube"
)

const (
	serviceAccountName = "default"
	rootCAName         = "kube-root-ca.crt"
	// soon collects the deletions of a namespace's objects into one look at it.
	soon = 20 * time.Millisecond
	// firstLook is after what time a namespace that still has content is looked at
	// without an event; one that is older, with content that does not go, less often, up
	// to lastLook.
	firstLook, lastLook = 5 * time.Second, time.Minute
)

// contentGone queues the namespace of a deleted object if that waits to be empty.
func (c *Collector) contentGone(name string) {
	if name == "" {
		return
	}
	if ns := kube.Cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: name}); ns != nil && ns.DeletionTimestamp != nil {
		c.namespaceQueue.AddAfter(name, soon)
	}
}

// defaultsChanged queues a namespace whose default ServiceAccount or CA
// ConfigMap appeared, changed or went.
func (c *Collector) defaultsChanged(r *resource, obj metav1.Object) {
	if r.gvr.Group == "" && (r.gvr.Resource == "serviceaccounts" && obj.GetName() == serviceAccountName ||
		r.gvr.Resource == "configmaps" && obj.GetName() == rootCAName) {
		c.namespaceQueue.Add(obj.GetNamespace())
	}
}

// syncNamespace gives an active namespace its defaults and empties a deleted one.
func (c *Collector) syncNamespace(ctx context.Context, name string) (time.Duration, error) {
	ns := kube.Cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: name})
	switch {
	case ns == nil:
		return 0, nil
	case ns.DeletionTimestamp == nil:
		return 0, c.ensureDefaults(ctx, name)
	case !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes):
		return 0, nil
	}
	return c.empty(ctx, ns)
}

// ensureDefaults gives the namespace what pods in it rely on (rule D53).
func (c *Collector) ensureDefaults(ctx context.Context, name string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: serviceAccountName, Namespace: name}}
	_, err := c.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return ignoreEnding(fmt.Errorf("service account %s/%s: %w", name, serviceAccountName, err))
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: rootCAName, Namespace: name, Annotations: map[string]string{
			"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
		}},
		Data: map[string]string{"ca.crt": c.caPEM},
	}
	maps := c.client.CoreV1().ConfigMaps(name)
	_, err = maps.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var have *corev1.ConfigMap
		if have, err = maps.Get(ctx, rootCAName, metav1.GetOptions{}); err == nil && !apiequality.Semantic.DeepEqual(have.Data, want.Data) {
			have.Data = want.Data
			_, err = maps.Update(ctx, have, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return ignoreEnding(fmt.Errorf("config map %s/%s: %w", name, rootCAName, err))
	}
	return nil
}

// ignoreEnding drops errors that only say that the namespace is being deleted or
// gone.
func ignoreEnding(err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// empty deletes everything in the namespace, pods first so that the Services and
// ConfigMaps they use outlive them, and finalizes the namespace when nothing is
// left (namespace controller upstream). It says when to look again.
func (c *Collector) empty(ctx context.Context, ns *corev1.Namespace) (again time.Duration, err error) {
	// A kind that is served since the last discovery must not be forgotten: what
	// is left of it would stay for ever.
	if !c.discover(ctx) {
		return 0, fmt.Errorf("namespace %s: not all served kinds are known", ns.Name)
	}
	var rest content.Remaining
	pods := func(r *resource) bool { return r.gvr.Group == "" && r.gvr.Resource == "pods" }
	for _, r := range c.resources.all() {
		if r.namespaced && pods(r) {
			c.deleteAll(ctx, r, ns.Name, &rest)
		}
	}
	if rest.Total() == 0 && len(rest.Failures) == 0 {
		for _, r := range c.resources.all() {
			if r.namespaced && !pods(r) && !r.idle {
				c.deleteAll(ctx, r, ns.Name, &rest)
			}
		}
	}
	done := rest.Total() == 0 && len(rest.Failures) == 0
	if !done {
		if err := c.writeConditions(ctx, ns, rest); err != nil {
			return 0, err
		}
		if len(rest.Failures) > 0 {
			return 0, fmt.Errorf("namespace %s: %s", ns.Name, rest.Failures[0])
		}
		return nextLook(time.Since(ns.DeletionTimestamp.Time)), nil
	}
	next := ns.DeepCopy()
	next.Spec.Finalizers = slices.DeleteFunc(next.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	_, err = c.client.CoreV1().Namespaces().Finalize(ctx, next, metav1.UpdateOptions{})
	return 0, ignoreNotFound(err)
}

// nextLook is when to look again at a namespace that has been deleted for a time.
func nextLook(deletedFor time.Duration) time.Duration {
	return min(max(deletedFor/4, firstLook), lastLook)
}

// deleteAll deletes the resource's objects in the namespace and adds what is left
// to rest.
func (c *Collector) deleteAll(ctx context.Context, r *resource, namespace string, rest *content.Remaining) {
	at := c.metadata.Resource(r.gvr).Namespace(namespace)
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	left, err := at.List(ctx, metav1.ListOptions{})
	if err == nil && len(left.Items) > 0 {
		if r.collection {
			err = at.DeleteCollection(ctx, opts, metav1.ListOptions{})
		} else {
			for i := range left.Items {
				if err == nil {
					err = ignoreNotFound(at.Delete(ctx, left.Items[i].Name, opts))
				}
			}
		}
		if err == nil {
			left, err = at.List(ctx, metav1.ListOptions{})
		}
	}
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return // no longer served
	}
	if err != nil {
		rest.Failures = append(rest.Failures, fmt.Sprintf("%s: %v", r.gvr.GroupResource(), err))
		return
	}
	rest.Add(r.gvr, left)
}

func (c *Collector) writeConditions(ctx context.Context, ns *corev1.Namespace, rest content.Remaining) error {
	next := ns.DeepCopy()
	next.Status.Conditions = rest.Conditions(ns.Status.Conditions, time.Now())
	if apiequality.Semantic.DeepEqual(ns.Status.Conditions, next.Status.Conditions) {
		return nil
	}
	_, err := c.client.CoreV1().Namespaces().UpdateStatus(ctx, next, metav1.UpdateOptions{})
	return ignoreNotFound(err)
}
