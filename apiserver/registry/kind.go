package registry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// object is what every stored kind is.
type object interface {
	runtime.Object
	metav1.Object
}

// kind is one row of the registry: all that distinguishes a resource from the others. A nil function means that
// there is nothing to do (or, for a validation, nothing to complain about).
type kind[T object] struct {
	group      string   // "" for core
	version    string   // of the type that is stored; "": v1
	plural     string   // as in URLs
	singular   string   // as kubectl accepts it
	short      []string // short names
	categories []string // names of groups of resources, as in "kubectl get all"
	cluster    bool     // not in a namespace

	new  func() T
	list func() runtime.Object

	// prepare clears what a client may not choose before an object is created; prepareUpdate does so for an update
	// and keeps what the update may not change.
	prepare       func(ctx context.Context, obj T)
	prepareUpdate func(ctx context.Context, obj, old T)

	// validate and validateUpdate return upstream's field paths and sentences; they do not change the object.
	validate       func(ctx context.Context, obj T) field.ErrorList
	validateUpdate func(ctx context.Context, obj, old T) field.ErrorList

	// warn returns sentences for Warning headers of a create (old is nil) or an update.
	warn func(obj, old T) []string

	// canonicalize completes an object that is valid, which has its final name.
	canonicalize func(obj T)

	// prepareStatus, validateStatus and warnStatus are for the status subresource; prepareStatus keeps the rest of the
	// object. A kind without prepareStatus has no status subresource.
	prepareStatus  func(ctx context.Context, obj, old T)
	validateStatus func(ctx context.Context, obj, old T) field.ErrorList
	warnStatus     func(obj, old T) []string

	// reset and resetStatus are the fields that the resource and its status ignore; nil: the status, and the
	// specification.
	reset, resetStatus resetFields

	unwatched      bool // has no watch cache
	createOnUpdate bool // a PUT to a name that does not exist creates the object
	conditional    bool // an update must carry a resourceVersion

	// select fills in the values of the kind's field labels (see fieldLabels).
	selectable func(obj T, set fields.Set)
	triggers   storage.IndexerFuncs            // indexes of the watch cache, by which watches are told apart as well
	indexes    map[string]func(obj T) []string // further indexes of the watch cache
	collect    rest.GarbageCollectionPolicy
	grace      func(obj T, options *metav1.DeleteOptions) bool // graceful deletion, as RESTGracefulDeleteStrategy
	returns    bool                                            // DELETE answers with the object
	ttl        uint64                                          // seconds until the object expires; 0: never

	columns []metav1.TableColumnDefinition
	row     func(obj T) []any

	// print makes a row for each object where row and columns are nil: what upstream prints. Of no objects it gives the columns.
	print func(objs []T) (*metav1.Table, error)

	// declared says how upstream's declarative validation is asked, which adds to validate; nil: it is not.
	declared func(ctx context.Context, obj, old T) rest.DeclarativeValidationConfig
}

func (k *kind[T]) resource() schema.GroupResource {
	return schema.GroupResource{Group: k.group, Resource: k.plural}
}

// stored is the version that the type of the row is of.
func (k *kind[T]) stored() schema.GroupVersion {
	if k.version == "" {
		return schema.GroupVersion{Group: k.group, Version: "v1"}
	}
	return schema.GroupVersion{Group: k.group, Version: k.version}
}

// resets says which fields each subresource ignores, so that server-side apply records no ownership of them.
func (k *kind[T]) resets(paths ...string) resetFields {
	version := fieldpath.APIVersion(k.stored().String())
	set := fieldpath.NewSet()
	for _, path := range paths {
		set.Insert(fieldpath.MakePathOrDie(path))
	}
	return resetFields{version: set}
}
