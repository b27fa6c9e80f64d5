// Package history says what a store may answer, from what its clients were told: a write that was acknowledged is there, one
// that was refused is not, and of one whose outcome nobody knows (a timeout, a connection that broke) both are possible until
// something decides it. It computes only; one goroutine at a time may use an Object.
package history

import "fmt"

// Absent is the value of an object that does not exist. Values of objects that do are positive.
const Absent = 0

// Version is one state of an object: its value, and the resourceVersion at which it was written.
type Version struct {
	Value    int
	Revision uint64
}

// Object is what is known of one object that one client alone writes, by conditional writes only: a create, or an update or
// delete that names the revision or the uid it means. Its zero value is an object that was never created.
type Object struct {
	known   Version
	pending []pending
}

// pending is a write whose outcome is not known.
type pending struct {
	value int
	// on is the revision that the write is conditional on, 0 for a create: at any other revision it can no longer happen.
	on uint64
}

// Known is the last state that was seen or acknowledged.
func (o *Object) Known() Version { return o.known }

// Certain reports whether no write is pending.
func (o *Object) Certain() bool { return len(o.pending) == 0 }

// Acknowledged notes that a write was answered with success.
func (o *Object) Acknowledged(v Version) { o.known, o.pending = v, nil }

// Unknown notes a write of value that may or may not happen, now or later.
func (o *Object) Unknown(value int) {
	o.pending = append(o.pending, pending{value: value, on: o.known.Revision})
}

// Saw notes what a read that began after every write so far answered, Version{} for an object that is not there. It is
// an error if no order of the known and the pending writes leads to that.
func (o *Object) Saw(v Version) error {
	if !o.possible(v) {
		return fmt.Errorf("read %s, possible is %s", describe(v), o.describe())
	}
	if v.Revision == o.known.Revision {
		return nil // what is pending on this revision may still happen
	}
	o.known, o.pending = v, nil
	return nil
}

// possible reports whether v is the known state, a pending write, or either with another client's change to some other part:
// controllers write the status of objects and raise their revision.
func (o *Object) possible(v Version) bool {
	if v.Revision < o.known.Revision && v.Value != Absent {
		return false // older than what was acknowledged
	}
	if v.Value == o.known.Value {
		return true
	}
	for _, p := range o.pending {
		if p.value == v.Value {
			return true
		}
	}
	return false
}

func (o *Object) describe() string {
	text := describe(o.known)
	for _, p := range o.pending {
		text += fmt.Sprintf(", or %s by a write on revision %d that was not answered", describe(Version{Value: p.value}), p.on)
	}
	return text
}

func describe(v Version) string {
	if v.Value == Absent {
		return "nothing"
	}
	if v.Revision == 0 {
		return fmt.Sprintf("value %d", v.Value)
	}
	return fmt.Sprintf("value %d at revision %d", v.Value, v.Revision)
}
