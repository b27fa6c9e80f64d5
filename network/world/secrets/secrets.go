// Package secrets is what one node knows of the Secrets that it serves with: exactly those that are named to it, and no others,
// since it may read no others. Each is watched alone.
//
// What was read last stays known while the API server is away. Annotations and whatever else nobody here reads is not kept.
package secrets

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// atOnce is how many Secrets are read at a time; further ones wait for their turn, so that a thousand are no burst to the API server.
const atOnce = 16

// Secrets follows Secrets. Make one with New, and start it with Run. Its methods are safe for concurrent use.
type Secrets struct {
	client  kubernetes.Interface
	log     *slog.Logger
	reading chan struct{} // holds a value for each read in flight
	wake    chan struct{} // capacity 1: wanted has changed
	changed chan struct{} // capacity 1

	mu     sync.Mutex // guards below
	wanted map[types.NamespacedName]struct{}
	known  map[types.NamespacedName]*corev1.Secret // nil: there is none
}

// New returns Secrets that follow nothing yet.
func New(client kubernetes.Interface, log *slog.Logger) *Secrets {
	return &Secrets{
		client: client, log: log, reading: make(chan struct{}, atOnce), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		known: map[types.NamespacedName]*corev1.Secret{},
	}
}

// Want names the Secrets to follow from now on. The others are forgotten at once.
func (s *Secrets) Want(names []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = make(map[types.NamespacedName]struct{}, len(names))
	for _, name := range names {
		s.wanted[name] = struct{}{}
	}
	signal(s.wake)
}

// Get returns a Secret that is wanted, which the caller must not change. known is false as long as it has not been read; a
// Secret that is known and nil does not exist.
func (s *Secrets) Get(name types.NamespacedName) (secret *corev1.Secret, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wanted[name]; !ok {
		return nil, false
	}
	secret, known = s.known[name]
	return secret, known
}

// Changed delivers a value, to one reader, when Get may say something else than before for any name.
func (s *Secrets) Changed() <-chan struct{} { return s.changed }

// Run follows what is wanted until ctx is done, which is not an error. Other errors are not the end: it tries again.
func (s *Secrets) Run(ctx context.Context) error {
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
			all.Go(func() { (&follower{secrets: s, name: name, ctx: own}).run() })
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// adjust stops the followers of what is not wanted any more, forgets what they have read, and returns what is wanted.
func (s *Secrets) adjust(followed map[types.NamespacedName]context.CancelFunc) map[types.NamespacedName]struct{} {
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
func (s *Secrets) put(ctx context.Context, name types.NamespacedName, secret *corev1.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	before, known := s.known[name]
	if secret != nil {
		secret = trimmed(secret)
	}
	s.known[name] = secret
	if !known || !same(before, secret) {
		signal(s.changed)
	}
}

// trimmed is what of a Secret is read here.
func trimmed(s *corev1.Secret) *corev1.Secret {
	meta := metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion}
	return &corev1.Secret{ObjectMeta: meta, Type: s.Type, Data: s.Data}
}

func same(a, b *corev1.Secret) bool {
	return a == b || a != nil && b != nil && a.UID == b.UID && a.ResourceVersion == b.ResourceVersion
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
