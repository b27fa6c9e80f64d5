package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// recently is how long a deleted namespace is read from the store itself rather than from the watch cache,
// which may not have seen the deletion yet (upstream's forced live lookup).
const recently = 30 * time.Second

// namespaceGuard is upstream's NamespaceLifecycle admission: nothing is created in a namespace that does
// not exist or is being deleted, and the namespaces the cluster lives in cannot be deleted. It reads the
// storage of namespaces directly, so it is ready with the server and needs no client.
type namespaceGuard struct {
	*admission.Handler
	namespaces rest.Getter

	mu      sync.Mutex
	deleted map[string]time.Time
}

var _ admission.MutationInterface = &namespaceGuard{}

func newNamespaceGuard(namespaces rest.Getter) *namespaceGuard {
	return &namespaceGuard{namespaces: namespaces, Handler: admission.NewHandler(admission.Create, admission.Delete), deleted: map[string]time.Time{}}
}

func immortal() []string {
	return []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic}
}

// Admit is part of admission.MutationInterface, whose turn comes before validation and before a Service gets
// an address. It changes nothing.
func (g *namespaceGuard) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() == corev1.Resource("namespaces") {
		return g.validateNamespace(a)
	}
	if a.GetNamespace() == "" || a.GetOperation() != admission.Create || a.GetSubresource() != "" {
		return nil
	}
	if a.GetResource().Resource == "localsubjectaccessreviews" {
		return nil // an answer here would tell which namespaces exist
	}
	namespace, err := g.lookup(ctx, a.GetNamespace())
	if err != nil {
		return err
	}
	if namespace.Status.Phase == corev1.NamespaceTerminating || namespace.DeletionTimestamp != nil {
		return terminating(a)
	}
	return nil
}

func (g *namespaceGuard) validateNamespace(a admission.Attributes) error {
	if a.GetOperation() != admission.Delete {
		return nil
	}
	if slices.Contains(immortal(), a.GetName()) {
		return apierrors.NewForbidden(a.GetResource().GroupResource(), a.GetName(), errors.New("this namespace may not be deleted"))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, at := range g.deleted {
		if time.Since(at) > recently {
			delete(g.deleted, name)
		}
	}
	g.deleted[a.GetName()] = time.Now()
	return nil
}

func terminating(a admission.Attributes) error {
	err := admission.NewForbidden(a, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.GetNamespace()))
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type:    corev1.NamespaceTerminatingCause,
			Message: fmt.Sprintf("namespace %s is being terminated", a.GetNamespace()),
			Field:   "metadata.namespace",
		})
	}
	return err
}

// lookup reads a namespace, from the watch cache where that can be trusted. A namespace the cache lacks may
// be a moment old, so the store itself has the last word.
func (g *namespaceGuard) lookup(ctx context.Context, name string) (*corev1.Namespace, error) {
	g.mu.Lock()
	_, wasDeleted := g.deleted[name]
	g.mu.Unlock()
	ctx = genericapirequest.WithNamespace(ctx, "")
	if !wasDeleted {
		if obj, err := g.namespaces.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"}); err == nil {
			return obj.(*corev1.Namespace), nil
		}
	}
	obj, err := g.namespaces.Get(ctx, name, &metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// The storage names the resource of the request, which is not the one that is missing.
		return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
	}
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}
