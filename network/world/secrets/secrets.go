// Package secrets is what one node knows of the Secrets and ConfigMaps that it serves with: exactly those that are named to it, and
// no others, since it may read no others. Each is watched alone.
//
// What was read last stays known while the API server is away. Annotations and whatever else nobody here reads is not kept.
package secrets

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// atOnce is how many objects of a kind are read at a time; further ones wait for their turn, so that a thousand are no burst to the API server.
const atOnce = 16

// Secrets follows Secrets. Make one with New.
type Secrets = Objects[*corev1.Secret]

// ConfigMaps follows ConfigMaps. Make one with NewConfigMaps.
type ConfigMaps = Objects[*corev1.ConfigMap]

// Objects follows objects of a kind. Start it with Run. Its methods are safe for concurrent use.
type Objects[T object] struct {
	kind    kind[T]
	log     *slog.Logger
	reading chan struct{} // holds a value for each read in flight
	wake    chan struct{} // capacity 1: wanted has changed
	changed chan struct{} // capacity 1

	mu     sync.Mutex // guards below
	wanted map[types.NamespacedName]struct{}
	known  map[types.NamespacedName]T // nil: there is none
}

// New returns Secrets that follow nothing yet.
func New(client kubernetes.Interface, log *slog.Logger) *Secrets {
	return newObjects(secretsOf(client), log)
}

// NewConfigMaps returns ConfigMaps that follow nothing yet.
func NewConfigMaps(client kubernetes.Interface, log *slog.Logger) *ConfigMaps {
	return newObjects(configMapsOf(client), log)
}

func newObjects[T object](kind kind[T], log *slog.Logger) *Objects[T] {
	return &Objects[T]{
		kind: kind, log: log, reading: make(chan struct{}, atOnce), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		known: map[types.NamespacedName]T{},
	}
}

// Want names the objects to follow from now on. The others are forgotten at once.
func (s *Objects[T]) Want(names []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = make(map[types.NamespacedName]struct{}, len(names))
	for _, name := range names {
		s.wanted[name] = struct{}{}
	}
	signal(s.wake)
}

// Get returns an object that is wanted, which the caller must not change. known is false as long as it has not been read; a
// one that is known and nil does not exist.
func (s *Objects[T]) Get(name types.NamespacedName) (found T, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wanted[name]; !ok {
		return found, false
	}
	found, known = s.known[name]
	return found, known
}

// Changed delivers a value, to one reader, when Get may say something else than before for any name.
func (s *Objects[T]) Changed() <-chan struct{} { return s.changed }

// Run follows what is wanted until ctx is done, which is not an error. Other errors are not the end: it tries again.
func (s *Objects[T]) Run(ctx context.Context) error {
	followed := map[types.NamespacedName]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		for name := range s.adjust(followed) {
			if followed[name] != nil {
				continue
			}
			own, stop := context.WithCancel(ctx)
			followed[name] = stop
			all.Go(func() { (&follower[T]{objects: s, name: name, ctx: own}).run() })
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// adjust stops the followers of what is not wanted any more, forgets what they have read, and returns what is wanted.
func (s *Objects[T]) adjust(followed map[types.NamespacedName]context.CancelFunc) map[types.NamespacedName]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, stop := range followed {
		if _, ok := s.wanted[name]; !ok {
			stop()
			delete(followed, name)
			delete(s.known, name)
		}
	}
	return s.wanted
}

// put notes what a follower has read, unless it has been told to stop.
func (s *Objects[T]) put(ctx context.Context, name types.NamespacedName, found T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	before, known := s.known[name]
	var none T
	if found != none {
		found = s.kind.trim(found)
	}
	s.known[name] = found
	if !known || !same(before, found) {
		signal(s.changed)
	}
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
