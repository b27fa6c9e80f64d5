package workload

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// object is what ownWrites can hold: an API object that can be copied.
type object interface {
	metav1.Object
	runtime.Object
}

// ownWrites remembers, per owner, the objects this process created, changed or
// deleted, until the informer's cache shows the same or newer. Reading the cache
// through merge therefore reads one's own writes. (Upstream controllers hold
// back instead, with expectations; a merged view needs no waiting.)
type ownWrites[T object] struct {
	mu     sync.Mutex // guards owners
	owners map[types.UID]*writes[T]
}

// writes are the writes of one owner that the cache has not shown yet.
type writes[T object] struct {
	written map[types.UID]T
	deleted map[types.UID]time.Time
}

func newOwnWrites[T object]() *ownWrites[T] {
	return &ownWrites[T]{owners: map[types.UID]*writes[T]{}}
}

// of returns the record of owner, creating it. The caller holds mu.
func (o *ownWrites[T]) of(owner types.UID) *writes[T] {
	w := o.owners[owner]
	if w == nil {
		w = &writes[T]{written: map[types.UID]T{}, deleted: map[types.UID]time.Time{}}
		o.owners[owner] = w
	}
	return w
}

// wrote records obj, as the server returned it from a create or an update.
func (o *ownWrites[T]) wrote(owner types.UID, obj T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(owner).written[obj.GetUID()] = obj
}

// removed records that the server accepted the deletion of the object uid at the
// time at.
func (o *ownWrites[T]) removed(owner, uid types.UID, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(owner).deleted[uid] = at
}

// forget drops everything about an owner that is gone.
func (o *ownWrites[T]) forget(owner types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owners, owner)
}

// merge returns cached corrected by the owner's own newer writes, and drops those
// the cache has caught up with. storeVersion is the resource version the cache
// had reached *before* cached was read from it. Cached objects are not changed.
func (o *ownWrites[T]) merge(owner types.UID, cached []T, storeVersion string) []T {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.owners[owner]
	if w == nil {
		return cached
	}
	out := make([]T, 0, len(cached)+len(w.written))
	seen := make(map[types.UID]bool, len(cached))
	for _, obj := range cached {
		uid := obj.GetUID()
		seen[uid] = true
		if mine, ok := w.written[uid]; ok {
			if newerOrSame(obj.GetResourceVersion(), mine.GetResourceVersion()) {
				delete(w.written, uid)
			} else {
				obj = mine
			}
		}
		out = append(out, obj)
	}
	for uid, mine := range w.written {
		switch {
		case seen[uid]:
		case newerOrSame(storeVersion, mine.GetResourceVersion()):
			delete(w.written, uid) // the cache saw it come and go
		default:
			seen[uid] = true
			out = append(out, mine)
		}
	}
	w.markDeleted(out, seen)
	if len(w.written)+len(w.deleted) == 0 {
		delete(o.owners, owner)
	}
	return out
}

// markDeleted gives the objects this process deleted a deletion timestamp where
// the cache does not show one yet.
func (w *writes[T]) markDeleted(objs []T, seen map[types.UID]bool) {
	for uid := range w.deleted {
		if !seen[uid] {
			delete(w.deleted, uid)
		}
	}
	for i, obj := range objs {
		at, ok := w.deleted[obj.GetUID()]
		if !ok {
			continue
		}
		if obj.GetDeletionTimestamp() != nil {
			delete(w.deleted, obj.GetUID())
			continue
		}
		dying := obj.DeepCopyObject().(T)
		dying.SetDeletionTimestamp(&metav1.Time{Time: at})
		objs[i] = dying
	}
}

// newerOrSame reports whether resource version a is at least b. Versions of one
// resource are ordered (KEP-5504); one that cannot be read counts as older, which
// only keeps a write remembered for longer.
func newerOrSame(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && c >= 0
}
