package registry

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager"
)

// keepTimes gives the managed fields of obj the times that they have in old when nothing else differs, so that applying an object again
// does not write it. The handlers of k8s.io/apiserver do so too, but see a difference in the kind: the field manager names the version
// in old, because the versioned type is the internal one.
func keepTimes(ctx context.Context, obj, old runtime.Object) {
	old.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	_, _ = fieldmanager.IgnoreManagedFieldsTimestampsTransformer(ctx, obj, old) // it fails only for what has no metadata
}
