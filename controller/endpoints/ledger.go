package endpoints

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// ledger remembers what a loop has written until its cache shows it. A plan made against a cache
// that is behind the loop's own writes would create slices twice, or take the state before the
// last write for the present one and undo a change for good (rules E37 and E68). So a loop makes
// no plan for a Service whose cache is behind, and is woken when the cache moves.
//
// The zero value is empty and ready.
type ledger struct {
	mu      sync.Mutex // guards below
	entries map[types.NamespacedName]*entry
}

// entry is what the cache of one Service does not show yet.
type entry struct {
	version string                 // the highest resourceVersion written
	removed map[types.UID]struct{} // the objects deleted
	waiting bool                   // a sync was put off
}

// wrote notes a created or updated object.
func (l *ledger) wrote(key types.NamespacedName, obj metav1.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(key)
	if older(e.version, obj.GetResourceVersion()) {
		e.version = obj.GetResourceVersion()
	}
}

// removing notes an object that is about to be deleted: before the fact, so that the event of the
// deletion cannot arrive first.
func (l *ledger) removing(key types.NamespacedName, uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(key)
	if e.removed == nil {
		e.removed = map[types.UID]struct{}{}
	}
	e.removed[uid] = struct{}{}
}

// kept takes removing back, after a deletion that failed.
func (l *ledger) kept(key types.NamespacedName, uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		delete(e.removed, uid)
	}
}

// current reports whether the cache shows all of the loop's own writes for a Service. look returns
// the cache's resourceVersion and then the Service's objects in it; it is called under the lock,
// so that a change of the cache happens either before look or before the next observed.
func (l *ledger) current(key types.NamespacedName, look func() (version string, uids []types.UID)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		return true
	}
	version, uids := look()
	e.waiting = older(version, e.version)
	for _, uid := range uids {
		if _, ok := e.removed[uid]; ok {
			e.waiting = true
		}
	}
	if !e.waiting {
		delete(l.entries, key)
	}
	return !e.waiting
}

// observed is called when the cache of a Service's objects has changed. It reports whether a sync
// was put off until now.
func (l *ledger) observed(key types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil || !e.waiting {
		return false
	}
	e.waiting = false
	return true
}

// expects reports whether the deletion of an object is the loop's own work.
func (l *ledger) expects(key types.NamespacedName, uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		_, ok := e.removed[uid]
		return ok
	}
	return false
}

// forget drops what is known about a Service that is gone.
func (l *ledger) forget(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, key)
}

func (l *ledger) entry(key types.NamespacedName) *entry {
	if l.entries == nil {
		l.entries = map[types.NamespacedName]*entry{}
	}
	if l.entries[key] == nil {
		l.entries[key] = &entry{}
	}
	return l.entries[key]
}

// older reports whether resourceVersion a is before b. Versions that do not compare, such as the
// empty one of a cache that has seen nothing, are: an empty a is before anything, nothing is
// before an empty b.
func older(a, b string) bool {
	if a == "" || b == "" {
		return a == "" && b != ""
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
