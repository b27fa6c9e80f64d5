package kube

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// Watch calls changed for each object of an informer that is new (before is nil; first: it was there when the watch began), has
// changed, or is deleted (after is nil). Objects are shared and must not be mutated. A version that was told is not told again
// (rule E14). What it returns is done when the whole first list has been told; cache.WaitFor waits for that.
func Watch[T metav1.Object](informer cache.SharedInformer, changed func(before, after T, first bool)) cache.DoneChecker {
	registration, err := informer.AddEventHandler(handler(changed))
	if err != nil {
		panic(fmt.Sprintf("BUG: kube: watch: %v", err)) // the informer was stopped before
	}
	return registration.HasSyncedChecker()
}

// handler is what Watch registers.
func handler[T metav1.Object](changed func(before, after T, first bool)) cache.ResourceEventHandler {
	var none T
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, first bool) { changed(none, obj.(T), first) },
		UpdateFunc: func(old, obj any) {
			before, after := old.(T), obj.(T)
			if before.GetResourceVersion() != after.GetResourceVersion() {
				changed(before, after, false)
			}
		},
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if before, ok := obj.(T); ok {
				changed(before, none, false)
			}
		},
	}
}

// Versions returns what Watch tells of an object, without nil: the version before, the one after, or both.
func Versions[T any](before, after *T) []*T {
	switch {
	case before == nil:
		return []*T{after}
	case after == nil:
		return []*T{before}
	}
	return []*T{before, after}
}

// Cached returns an object from a cache, nil when it is not there. The key of one without namespace has only a name.
func Cached[T any](informer cache.SharedInformer, key types.NamespacedName) *T {
	obj, ok, err := informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if err != nil || !ok {
		return nil
	}
	found, _ := obj.(*T)
	return found
}

// Key returns the key of an object.
func Key(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// Recorder posts Events in the name of source until ctx ends. Nothing waits for Events before there is the first one.
func Recorder(ctx context.Context, client kubernetes.Interface, source corev1.EventSource) record.EventRecorder {
	return recorder(sync.OnceValue(func() record.EventRecorder {
		broadcaster := record.NewBroadcaster(record.WithContext(ctx))
		broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
		return broadcaster.NewRecorder(scheme.Scheme, source)
	}))
}

// recorder begins with its first Event.
type recorder func() record.EventRecorder

// Event is part of record.EventRecorder.
func (r recorder) Event(object runtime.Object, kind, reason, message string) {
	r().Event(object, kind, reason, message)
}

// Eventf is part of record.EventRecorder.
func (r recorder) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	r().Eventf(object, kind, reason, format, args...)
}

// AnnotatedEventf is part of record.EventRecorder.
func (r recorder) AnnotatedEventf(object runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) {
	r().AnnotatedEventf(object, annotations, kind, reason, format, args...)
}

// Posted are the Events that a component has posted and that are still kept: what it need not say again after a start.
func Posted(ctx context.Context, client kubernetes.Interface, component string) ([]corev1.Event, error) {
	list, err := client.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("source", component).String()})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}
