package endpoints

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// edits notices that somebody else has changed or deleted an object that a loop writes, so that the person can be told that it
// was put back (rule E33). The event of a write can arrive before the answer to it, so who wrote a version is asked only in
// a sync: it runs after the answer to the one before. A note lives until the sync that settles it, or that of the loop's own
// version until its event, so there are few.
//
// The zero value is empty and ready.
type edits struct {
	mu    sync.Mutex // guards below
	notes map[types.NamespacedName]note
}

// note is what is known about the latest versions of one object.
type note struct {
	own     string // written by the loop
	seen    string // with another content than the version before
	deleted bool   // it has left the cache
}

// wrote notes the loop's own version.
func (e *edits) wrote(key types.NamespacedName, version string) {
	e.change(key, func(n *note) { n.own = version })
}

// saw notes a version in the cache whose content differs from that before.
func (e *edits) saw(key types.NamespacedName, version string) {
	e.change(key, func(n *note) { n.seen, n.deleted = version, false })
}

// lost notes that the object has left the cache.
func (e *edits) lost(key types.NamespacedName) {
	e.change(key, func(n *note) { n.deleted = true })
}

func (e *edits) change(key types.NamespacedName, f func(*note)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.notes == nil {
		e.notes = map[types.NamespacedName]note{}
	}
	n := e.notes[key]
	f(&n)
	e.notes[key] = n
}

// settle reports, for the version that the cache shows now (empty: no object), whether somebody else changed it to that or
// deleted it, and forgets what was noted. The loop's own version is remembered until its event has come: the cache shows a
// version before the event of it is handed out.
func (e *edits) settle(key types.NamespacedName, version string) (changed, deleted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.notes[key]
	delete(e.notes, key)
	if version != "" && older(n.seen, n.own) {
		e.notes[key] = note{own: n.own}
	}
	return version != "" && n.seen == version && n.own != version, version == "" && n.deleted
}
