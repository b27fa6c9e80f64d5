package world

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Changes names what differs from what a subscriber saw before. It carries no
// values: the reader asks the World, and so always acts on the newest state.
type Changes struct {
	Services   map[types.NamespacedName]struct{} // the Service or one of its EndpointSlices was put or deleted
	Namespaces map[string]struct{}               // created or deleted
	Nodes      bool                              // a Node appeared, went, or changed labels, spec or addresses
	UpTo       Revisions                         // the World shows everything up to here, these changes included
}

// IsEmpty reports whether nothing changed.
func (c Changes) IsEmpty() bool {
	return len(c.Services) == 0 && len(c.Namespaces) == 0 && !c.Nodes
}

// Subscription collects changes for one reader.
type Subscription struct {
	world *World
	wake  chan struct{} // capacity 1: a token means pending is not empty

	pending Changes // guarded by world.mu
}

// Subscribe returns a Subscription whose first Next reports everything the
// World holds at this moment, so that a reader needs no separate first pass.
func (w *World) Subscribe() *Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Subscription{world: w, wake: make(chan struct{}, 1)}
	if len(w.services) > 0 {
		s.pending.Services = make(map[types.NamespacedName]struct{}, len(w.services))
	}
	for name := range w.services {
		s.addService(name)
	}
	for name := range w.namespaces {
		s.addNamespace(name)
	}
	if len(w.nodes) > 0 {
		s.addNodes()
	}
	w.subscriptions[s] = struct{}{}
	return s
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

func (s *Subscription) addService(name types.NamespacedName) {
	if s.pending.Services == nil {
		s.pending.Services = map[types.NamespacedName]struct{}{}
	}
	s.pending.Services[name] = struct{}{}
	s.signal()
}

func (s *Subscription) addNamespace(name string) {
	if s.pending.Namespaces == nil {
		s.pending.Namespaces = map[string]struct{}{}
	}
	s.pending.Namespaces[name] = struct{}{}
	s.signal()
}

func (s *Subscription) addNodes() {
	s.pending.Nodes = true
	s.signal()
}

// reached notes the resource version that a kind has come to. It wakes the readers, although most find nothing that
// concerns them: one may wait for just that.
func (w *World) reached(kind Kind, version string) {
	if w.upTo.set(kind, version) {
		for s := range w.subscriptions {
			s.signal()
		}
	}
}

func (w *World) serviceChanged(name types.NamespacedName) {
	for s := range w.subscriptions {
		s.addService(name)
	}
}

func (w *World) namespaceChanged(name string) {
	for s := range w.subscriptions {
		s.addNamespace(name)
	}
}

func (w *World) nodesChanged() {
	for s := range w.subscriptions {
		s.addNodes()
	}
}
