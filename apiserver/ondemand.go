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

// apart is how many may watch a kind without its watch cache.
const apart = 2

// onDemand is storage whose watch cache is there from when more than two watch at once: most kinds nobody watches, or parts of this
// program that have caches of their own, and a watch cache costs two dozen goroutines, every object and a watch of etcd, which costs
// six. Until then everything is read from etcd itself, which answers the same.
type onDemand struct {
	storage.Interface // etcd's
	open              func() (*cacher.Cacher, error)

	mu     sync.Mutex // guards the change from asleep to awake, and the following
	awake  atomic.Pointer[watched]
	closed bool
	past   int // how many watch etcd itself
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
	if opts.Predicate.AllowWatchBookmarks && s.pass() {
		opts.ProgressNotify = true // what etcd's bookmarks are called
		w, err := s.Interface.Watch(ctx, key, opts)
		if err != nil {
			s.left()
			return nil, err
		}
		return &passing{w, sync.OnceFunc(s.left)}, nil
	}
	w, err := s.wake()
	if err != nil || from > 0 && from < w.from {
		return s.Interface.Watch(ctx, key, opts)
	}
	return w.Watch(ctx, key, opts)
}

// passing is a watch of etcd itself.
type passing struct {
	watch.Interface
	left func()
}

// Stop is part of watch.Interface.
func (p *passing) Stop() {
	p.Interface.Stop()
	p.left()
}

// pass reports whether one more may watch etcd itself. Then the caller does, until it calls left.
func (s *onDemand) pass() bool {
	if s.awake.Load() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.past >= apart || s.closed || s.awake.Load() != nil {
		return false
	}
	s.past++
	return true
}

func (s *onDemand) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past--
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
