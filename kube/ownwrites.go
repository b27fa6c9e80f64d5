package kube

import (
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Object is an API object that a cache holds.
type Object interface {
	metav1.Object
	runtime.Object
}

// OwnWrites is what this process has written and its cache may not show yet, by the key of who the objects belong to (a
// Service, a ReplicaSet, an object by itself). A plan made from View reads the process's own writes, however late the cache is:
// it creates nothing twice and undoes nothing. (Upstream's controllers hold back instead until the cache has caught up, by
// expectations or a tracker of generations; a view needs no waiting.) The rules:
//
//   - A write that the server answered (Wrote, Deleted) is part of View until the cache shows the same or newer. Versions of
//     one resource are ordered (KEP-5504); the cache's own version says that an object came and went.
//   - An object is its UID: one that was deleted and made again under its name is another one.
//   - A write that is under way, or has failed without an answer (a time-out, a broken connection), may happen, has happened, or
//     never will. Where others must reckon with it, it is noted before it is sent (Asked), and is part of View until it is
//     answered (Wrote), refused (Withdraw), or shown by the cache (Shows). One that has failed without an answer (NoAnswer) is
//     repeated as it was (Unanswered). Where names, UIDs and versions make any repetition harmless, it is not noted at all.
//   - Nothing is kept that the cache shows, and nothing outlives the process: the first list of the next one shows it all.
//
// Objects are shared and never mutated. The zero value is empty and ready; the fields are set before the first call. Its
// methods may be called by several goroutines.
type OwnWrites[K comparable, V Object] struct {
	// Shows reports whether the cache's version of an object has what was asked for. Who calls Asked sets it.
	Shows func(cached, asked V) bool
	// Edits makes it remember the version of an own write until its event was handled, for Edited.
	Edits bool

	mu     sync.Mutex // guards below
	owners map[K]map[types.UID]*ownWrite[V]
}

// ownWrite is what is known about one object beyond the cache.
type ownWrite[V Object] struct {
	version string    // of the newest own write that was answered; empty when it does not matter any more
	written V         // that write
	ahead   bool      // the cache does not show it yet
	asked   V         // the write without an answer
	open    bool      // there is one
	failed  bool      // and there will be no answer
	deleted time.Time // when the server accepted the deletion; zero: it did not, or the cache shows it

	changed string // the newest version that Changed told of
	lost    bool   // Lost told that it is gone
}

// Wrote notes an object as the server returned it from a create, an update or a patch.
func (o *OwnWrites[K, V]) Wrote(owner K, answer V) {
	o.change(owner, answer.GetUID(), func(w *ownWrite[V]) {
		var none V
		w.asked, w.open, w.failed = none, false, false
		if version := answer.GetResourceVersion(); version != "" && !newerOrSame(w.version, version) {
			w.version, w.written, w.ahead = version, answer, true
		}
	})
}

// Deleted notes that the server accepted the deletion of an object at a time.
func (o *OwnWrites[K, V]) Deleted(owner K, uid types.UID, at time.Time) {
	o.change(owner, uid, func(w *ownWrite[V]) {
		if w.lost { // the event came before the answer
			w.lost = false
			return
		}
		w.deleted = at
	})
}

// Asked notes a write of an object that the cache has shown before it is sent: the object as it will be.
func (o *OwnWrites[K, V]) Asked(owner K, object V) {
	o.change(owner, object.GetUID(), func(w *ownWrite[V]) { w.asked, w.open, w.failed = object, true, false })
}

// Withdraw takes Asked back when the server has refused (see Refused). It reports whether there was anything to take back: not
// when the cache has shown the write meanwhile.
func (o *OwnWrites[K, V]) Withdraw(owner K, uid types.UID) (was bool) {
	o.change(owner, uid, func(w *ownWrite[V]) {
		var none V
		was = w.open
		w.asked, w.open, w.failed = none, false, false
	})
	return was
}

// NoAnswer notes that there will be no answer to Asked. It reports whether that matters: not when the cache has shown the write
// meanwhile.
func (o *OwnWrites[K, V]) NoAnswer(owner K, uid types.UID) (open bool) {
	o.change(owner, uid, func(w *ownWrite[V]) { open, w.failed = w.open, w.open })
	return open
}

// Unanswered returns the object as it was asked for by a write of which nobody knows what has become.
func (o *OwnWrites[K, V]) Unanswered(owner K, uid types.UID) (asked V, repeat bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w := o.owners[owner][uid]; w != nil {
		return w.asked, w.failed
	}
	return asked, false
}

// Forget drops everything about an owner that is gone.
func (o *OwnWrites[K, V]) Forget(owner K) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owners, owner)
}

// View returns an owner's objects: those of the cache, corrected and completed by its own writes. An object whose deletion was
// accepted has a deletion timestamp, in a copy. What the cache shows is forgotten. version is the resourceVersion that the cache
// had reached before cached was read from it; cached itself is not changed.
func (o *OwnWrites[K, V]) View(owner K, version string, cached []V) []V {
	o.mu.Lock()
	defer o.mu.Unlock()
	writes := o.owners[owner]
	if len(writes) == 0 {
		return cached
	}
	view := make([]V, 0, len(cached)+len(writes))
	seen := make(map[types.UID]bool, len(cached))
	for _, object := range cached {
		seen[object.GetUID()] = true
		if w := writes[object.GetUID()]; w != nil {
			w.settle(object, o.Shows)
			object = w.apply(object)
		}
		view = append(view, object)
	}
	for uid, w := range writes {
		switch {
		case seen[uid]:
		case w.ahead && !newerOrSame(version, w.version):
			view = append(view, w.apply(w.written)) // it is new
		default:
			*w = w.gone(o.Edits)
		}
		o.tidy(owner, uid)
	}
	return view
}

// Latest returns an object of the cache that is its own owner, or what View makes of it.
func Latest[V Object](o *OwnWrites[types.UID, V], cached V) V {
	return o.View(cached.GetUID(), cached.GetResourceVersion(), []V{cached})[0]
}

// settle drops what the cache's version of the object shows.
func (w *ownWrite[V]) settle(cached V, shows func(cached, asked V) bool) {
	var none V
	if w.ahead && newerOrSame(cached.GetResourceVersion(), w.version) {
		w.written, w.ahead = none, false
	}
	if w.open && shows(cached, w.asked) {
		w.asked, w.open, w.failed = none, false, false
	}
	if dying := cached.GetDeletionTimestamp(); dying != nil {
		if w.deleted = (time.Time{}); w.open { // what was asked for may not know it yet
			w.deleted = dying.Time
		}
	}
}

// gone is what is left to know about an object that the cache does not have any more.
func (w *ownWrite[V]) gone(edits bool) ownWrite[V] {
	left := ownWrite[V]{lost: w.lost}
	if edits && !w.lost {
		left.deleted = w.deleted // until its event
	}
	return left
}

// apply returns the object with the own writes that it lacks.
func (w *ownWrite[V]) apply(object V) V {
	switch {
	case w.open:
		object = w.asked
	case w.ahead:
		object = w.written
	}
	if !w.deleted.IsZero() && object.GetDeletionTimestamp() == nil {
		object = object.DeepCopyObject().(V)
		object.SetDeletionTimestamp(&metav1.Time{Time: w.deleted})
	}
	return object
}

// Changed notes, from the cache's events, a version whose content differs from that before in what its owner decides.
func (o *OwnWrites[K, V]) Changed(owner K, object V) {
	o.change(owner, object.GetUID(), func(w *ownWrite[V]) { w.changed = object.GetResourceVersion() })
}

// Lost notes, from the cache's events, that an object is gone.
func (o *OwnWrites[K, V]) Lost(owner K, object V) {
	o.change(owner, object.GetUID(), func(w *ownWrite[V]) { w.lost, w.deleted = w.deleted.IsZero(), time.Time{} })
}

// Edited reports, after View and for the same objects, whether somebody else has changed one of them to the version that the
// cache shows, or deleted one, and has not been told of before. The event of a write can come before its answer, so
// this is asked when no write of the owner's is under way; and the cache shows a version before its event is handled, so own
// versions are remembered until then. It is for objects that are written at the version at which they were read.
func (o *OwnWrites[K, V]) Edited(owner K, cached []V) (changed, deleted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	versions := make(map[types.UID]string, len(cached))
	for _, object := range cached {
		versions[object.GetUID()] = object.GetResourceVersion()
	}
	for uid, w := range o.owners[owner] {
		if w.ahead {
			continue // what the cache shows came before an own write that was made knowing it
		}
		version, there := versions[uid]
		changed = changed || there && w.changed == version && w.version != version
		deleted = deleted || !there && w.lost
		if !there || newerOrSame(w.changed, w.version) {
			w.version = ""
		}
		w.changed, w.lost = "", false
		o.tidy(owner, uid)
	}
	return changed, deleted
}

// change has f change what is known about an object.
func (o *OwnWrites[K, V]) change(owner K, uid types.UID, f func(*ownWrite[V])) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owners == nil {
		o.owners = map[K]map[types.UID]*ownWrite[V]{}
	}
	if o.owners[owner] == nil {
		o.owners[owner] = map[types.UID]*ownWrite[V]{}
	}
	w := o.owners[owner][uid]
	if w == nil {
		w = &ownWrite[V]{}
		o.owners[owner][uid] = w
	}
	f(w)
	o.tidy(owner, uid)
}

// tidy forgets an object about which nothing is known beyond the cache, and an owner without objects. The caller holds mu.
func (o *OwnWrites[K, V]) tidy(owner K, uid types.UID) {
	w := o.owners[owner][uid]
	if !o.Edits && !w.ahead {
		w.version = ""
	}
	if w.ahead || w.open || w.lost || !w.deleted.IsZero() || w.version+w.changed != "" {
		return
	}
	delete(o.owners[owner], uid)
	if len(o.owners[owner]) == 0 {
		delete(o.owners, owner)
	}
}

// Refused reports whether an error is the server's answer that it did not do what it was asked to. After any other error nobody
// knows.
func Refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500
}

// newerOrSame reports whether resourceVersion a is at least b. One that cannot be read counts as older, which only keeps a write
// for longer.
func newerOrSame(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order >= 0
}
