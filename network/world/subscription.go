package world

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Changes names what differs from what a subscriber saw before. It carries no
// values: the reader asks the World, and so always acts on the newest state.
type Changes struct {
	UpTo  Revisions // the World shows everything up to here, these changes included
	names [kinds]map[types.NamespacedName]struct{}
}

// Of names the objects of a kind that came, went, or changed in something that
// readers use. A Service has also changed when one of its EndpointSlices has.
// The caller must not change what it is given.
func (c Changes) Of(k Kind) map[types.NamespacedName]struct{} { return c.names[k] }

// IsEmpty reports whether nothing changed.
func (c Changes) IsEmpty() bool {
	for _, names := range c.names {
		if len(names) > 0 {
			return false
		}
	}
	return true
}

// Subscription collects changes for one reader.
type Subscription struct {
	world *World
	wants [kinds]bool
	wake  chan struct{} // capacity 1: a token means that there may be something to take

	// guarded by world.mu
	pending Changes
	steps   bool // woken by every revision
}

// Subscribe returns a Subscription to some kinds, whose first Next reports
// everything the World holds of them at this moment, so that a reader needs no
// separate first pass.
func (w *World) Subscribe(to ...Kind) *Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Subscription{world: w, wake: make(chan struct{}, 1)}
	for _, k := range to {
		s.wants[w.tables[k].tellsOf()] = true
	}
	for _, t := range w.tables {
		if s.wants[t.tellsOf()] {
			t.tellAll(s)
		}
	}
	w.subscriptions[s] = struct{}{}
	return s
}

// EveryRevision makes Wake tell of everything that makes UpTo grow, also of what does not concern the reader: one may
// wait for just that.
func (s *Subscription) EveryRevision() {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.steps = true
}

// Next blocks until something changed, then returns everything that changed
// since the last call, each name once. Its error is ctx's.
func (s *Subscription) Next(ctx context.Context) (Changes, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Changes{}, err
		}
		if c := s.Take(); !c.IsEmpty() {
			return c, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Changes{}, ctx.Err()
		}
	}
}

// Wake delivers a value when Take may have something to return. It is for
// readers that wait for other things besides; others call Next.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Take returns what changed since the last call without waiting; it may be
// empty.
func (s *Subscription) Take() Changes {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	c := s.pending
	c.UpTo = s.world.upTo
	s.pending = Changes{}
	return c
}

// Close ends the subscription: nothing is collected for it any more.
func (s *Subscription) Close() {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	delete(s.world.subscriptions, s)
}

// Everything below runs with world.mu held.

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// expect makes room for so many names.
func (s *Subscription) expect(k Kind, n int) {
	if n > 0 && s.pending.names[k] == nil {
		s.pending.names[k] = make(map[types.NamespacedName]struct{}, n)
	}
}

func (s *Subscription) add(k Kind, name types.NamespacedName) {
	s.expect(k, 1)
	s.pending.names[k][name] = struct{}{}
	s.signal()
}

// tell tells the readers that want it that an object has changed.
func (w *World) tell(k Kind, name types.NamespacedName) {
	if name.Name == "" { // nobody's
		return
	}
	for s := range w.subscriptions {
		if s.wants[k] {
			s.add(k, name)
		}
	}
}

// reached notes the resource version that a kind has come to.
func (w *World) reached(k Kind, version string) {
	if !w.upTo.set(k, version) {
		return
	}
	for s := range w.subscriptions {
		if s.steps {
			s.signal()
		}
	}
}
