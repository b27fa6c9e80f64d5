package apiserver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
)

// filling bounds how long a watch waits for the cache that it has called for; a moment later it would be told to try again.
const filling = 5 * time.Second

// onDemand is storage whose watch cache is there from when somebody watches: of most kinds nobody does, and a cache costs two dozen
// goroutines and a watch of etcd. Until then everything is read from etcd itself, which answers the same.
type onDemand struct {
	storage.Interface // etcd's
	open              func() (*cacher.Cacher, error)

	mu     sync.Mutex // guards the change from asleep to awake, and closed
	awake  atomic.Pointer[watched]
	closed bool
}

// watched is a watch cache and what leads to it or past it.
type watched struct {
	*cacher.CacheDelegator
	cache *cacher.Cacher
	from  uint64 // watches from an older revision are etcd's to serve
}

var errClosed = errors.New("the storage is closed")

// now is what answers at the moment.
func (s *onDemand) now() storage.Interface {
	if w := s.awake.Load(); w != nil {
		return w
	}
	return s.Interface
}

// wake makes the cache, and waits until it is filled. That takes a moment, which no client cuts short: one that is gone has others
// behind it.
func (s *onDemand) wake() (*watched, error) {
	if w := s.awake.Load(); w != nil {
		return w, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.awake.Load(); w != nil {
		return w, nil
	}
	if s.closed {
		return nil, errClosed
	}
	cache, err := s.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), filling)
	defer cancel()
	w := &watched{CacheDelegator: cacher.NewCacheDelegator(cache, s.Interface), cache: cache}
	if cache.Wait(ctx) == nil { // else it tells everybody to come again until it is filled
		w.from, _ = cache.LastSyncResourceVersion() // 0 when it is not known
	}
	s.awake.Store(w)
	return w, nil
}

// close ends the cache, if there is one.
func (s *onDemand) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if w := s.awake.Load(); w != nil {
		w.Stop()
		w.cache.Stop()
	}
}

// Watch is part of storage.Interface.
func (s *onDemand) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	from := uint64(0)
	if opts.ResourceVersion != "" {
		var err error
		if from, err = s.Versioner().ParseResourceVersion(opts.ResourceVersion); err != nil {
			return nil, err
		}
	}
	w, err := s.wake()
	if err != nil || from > 0 && from < w.from {
		return s.Interface.Watch(ctx, key, opts)
	}
	return w.Watch(ctx, key, opts)
}

// Get is part of storage.Interface.
func (s *onDemand) Get(ctx context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	return s.now().Get(ctx, key, opts, out)
}

// GetList is part of storage.Interface. What is to be found by an index, which only the cache has, is asked for again and again.
func (s *onDemand) GetList(ctx context.Context, key string, opts storage.ListOptions, out runtime.Object) error {
	if len(opts.Predicate.MatcherIndex(ctx)) > 0 {
		if w, err := s.wake(); err == nil {
			return w.GetList(ctx, key, opts, out)
		}
	}
	return s.now().GetList(ctx, key, opts, out)
}

// Delete is part of storage.Interface.
func (s *onDemand) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, opts storage.DeleteOptions) error {
	return s.now().Delete(ctx, key, out, conditions, validate, cached, opts)
}

// GuaranteedUpdate is part of storage.Interface.
func (s *onDemand) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, ignoreNotFound bool, conditions *storage.Preconditions,
	try storage.UpdateFunc, cached runtime.Object) error {
	return s.now().GuaranteedUpdate(ctx, key, out, ignoreNotFound, conditions, try, cached)
}

// Stats is part of storage.Interface.
func (s *onDemand) Stats(ctx context.Context) (storage.Stats, error) { return s.now().Stats(ctx) }

// ReadinessCheck is part of storage.Interface.
func (s *onDemand) ReadinessCheck() error { return s.now().ReadinessCheck() }

// RequestWatchProgress is part of storage.Interface.
func (s *onDemand) RequestWatchProgress(ctx context.Context) error {
	return s.now().RequestWatchProgress(ctx)
}

// GetCurrentResourceVersion is part of storage.Interface.
func (s *onDemand) GetCurrentResourceVersion(ctx context.Context) (uint64, error) {
	return s.now().GetCurrentResourceVersion(ctx)
}

// CompactRevision is part of storage.Interface.
func (s *onDemand) CompactRevision() int64 { return s.now().CompactRevision() }
