package registry

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// namespaceStore is the storage of namespaces, whose deletion takes two steps (rule D53): deleting marks the namespace
// Terminating, and it goes when the controller that empties it has removed the finalizer from its specification. As
// upstream, namespaces cannot be deleted as a collection; so the store is not embedded, and the verbs there are are
// written out.
type namespaceStore struct{ plain store[*corev1.Namespace] }

var (
	_ rest.Getter               = namespaceStore{}
	_ rest.Lister               = namespaceStore{}
	_ rest.Watcher              = namespaceStore{}
	_ rest.CreaterUpdater       = namespaceStore{}
	_ rest.GracefulDeleter      = namespaceStore{}
	_ rest.Scoper               = namespaceStore{}
	_ rest.ShortNamesProvider   = namespaceStore{}
	_ rest.SingularNameProvider = namespaceStore{}
	_ rest.ResetFieldsStrategy  = namespaceStore{}
)

// newNamespaceStore returns the storages of namespaces and of their status and finalize subresources.
func newNamespaceStore(plain store[*corev1.Namespace]) (all namespaceStore, status, finalized partStore[*corev1.Namespace]) {
	plain.ShouldDeleteDuringUpdate = func(_ context.Context, _ string, obj, _ runtime.Object) bool {
		return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0
	}
	return namespaceStore{plain}, plain.status(), plain.part(finalize())
}

// Delete marks a namespace Terminating, or removes one that is and has no finalizers left.
func (s namespaceStore) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, err := s.plain.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	ns := obj.(*corev1.Namespace)
	if options == nil {
		options = &metav1.DeleteOptions{}
	}
	if ns.DeletionTimestamp.IsZero() {
		return s.terminate(ctx, ns, validate, options)
	}
	if len(ns.Spec.Finalizers) > 0 {
		return ns, false, nil
	}
	return s.plain.Delete(ctx, name, validate, options)
}

func (s namespaceStore) terminate(ctx context.Context, ns *corev1.Namespace, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	resource := corev1.Resource("namespaces")
	preconditions := &storage.Preconditions{UID: &ns.UID}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != ns.UID {
			return nil, false, apierrors.NewConflict(resource, ns.Name, errors.New("the UID in the precondition does not match the UID in record: the namespace was deleted and created anew"))
		}
		preconditions.ResourceVersion = p.ResourceVersion
	}
	key, err := s.plain.KeyFunc(ctx, ns.Name)
	if err != nil {
		return nil, false, err
	}
	out := &corev1.Namespace{}
	err = s.plain.Storage.GuaranteedUpdate(ctx, key, out, false, preconditions,
		storage.SimpleUpdate(func(existing runtime.Object) (runtime.Object, error) {
			current := existing.(*corev1.Namespace)
			if err := validate(ctx, current); err != nil {
				return nil, err
			}
			if current.DeletionTimestamp.IsZero() {
				now := metav1.Now()
				current.DeletionTimestamp = &now
			}
			current.Status.Phase = corev1.NamespaceTerminating
			return current, nil
		}), dryrun.IsDryRun(options.DryRun), nil)
	if err != nil {
		return nil, false, storageerrors.InterpretUpdateError(err, resource, ns.Name)
	}
	return out, false, nil
}

// New returns an empty namespace.
func (s namespaceStore) New() runtime.Object { return s.plain.New() }

// NewList returns an empty list.
func (s namespaceStore) NewList() runtime.Object { return s.plain.NewList() }

// Destroy ends the watches of the storage.
func (s namespaceStore) Destroy() { s.plain.Destroy() }

// NamespaceScoped is false.
func (s namespaceStore) NamespaceScoped() bool { return s.plain.NamespaceScoped() }

// ShortNames are the abbreviations kubectl accepts.
func (s namespaceStore) ShortNames() []string { return s.plain.ShortNames() }

// GetSingularName is the name of one.
func (s namespaceStore) GetSingularName() string { return s.plain.GetSingularName() }

// Get reads one namespace.
func (s namespaceStore) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.plain.Get(ctx, name, options)
}

// List reads the namespaces selected.
func (s namespaceStore) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	return s.plain.List(ctx, options)
}

// Watch follows the namespaces selected.
func (s namespaceStore) Watch(ctx context.Context, options *internalversion.ListOptions) (watch.Interface, error) {
	return s.plain.Watch(ctx, options)
}

// Create stores a new namespace.
func (s namespaceStore) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	return s.plain.Create(ctx, obj, validate, options)
}

// Update changes a namespace.
func (s namespaceStore) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.plain.Update(ctx, name, info, create, update, force, options)
}

// ConvertToTable prints namespaces.
func (s namespaceStore) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.plain.ConvertToTable(ctx, obj, options)
}

// GetResetFields returns the fields an update of the namespace ignores.
func (s namespaceStore) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.plain.GetResetFields()
}

// StorageVersion is the version namespaces are stored in, for discovery.
func (s namespaceStore) StorageVersion() runtime.GroupVersioner { return s.plain.StorageVersion() }
