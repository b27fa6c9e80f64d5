package registry

import (
	"strconv"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Acknowledged holds, for the kinds that names and addresses come from, the resource version of the newest write that
// was acknowledged. A write is here before it is answered, so whoever reads it in this process afterwards knows how far a
// watch has to have come to show it. Writes of earlier processes are not here.
type Acknowledged struct {
	Services, EndpointSlices, Namespaces atomic.Uint64
}

// note has every write to s raise newest.
func note[T object](s store[T], newest *atomic.Uint64) {
	if s.Store == nil {
		return
	}
	s.AfterCreate = func(obj runtime.Object, _ *metav1.CreateOptions) { raise(newest, obj) }
	s.AfterUpdate = func(obj runtime.Object, _ *metav1.UpdateOptions) { raise(newest, obj) }
	s.AfterDelete = func(obj runtime.Object, _ *metav1.DeleteOptions) { raise(newest, obj) }
}

// raise makes newest at least the resource version of obj, which of a deleted object is that of its deletion. What was
// not written has none, or an old one.
func raise(newest *atomic.Uint64, obj runtime.Object) {
	o, ok := obj.(object)
	if !ok {
		return
	}
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	for old := newest.Load(); err == nil && old < version; old = newest.Load() {
		if newest.CompareAndSwap(old, version) {
			return
		}
	}
}
