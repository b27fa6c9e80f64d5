package endpoints

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

const (
	// firstRetry and lastRetry bound the exponential back-off of a Service whose sync fails. The
	// first is that of Kubernetes' endpoints controller (rule E36), the last that of its
	// endpointslice controller (rule E68), for mirrors that of its mirroring controller (rule
	// E109). Unlike there a Service is never given up.
	firstRetry      = 5 * time.Millisecond
	lastRetry       = 1000 * time.Second
	lastMirrorRetry = 100 * time.Second

	// recheckDelay is how long after a change of an object that the loop writes the loop looks at
	// it again, so that an edit by hand is corrected without a fight at full speed against another
	// program that keeps editing (rule E67).
	recheckDelay = time.Second
)

// errWaiting says that a sync cannot complete yet, for a reason that is no failure.
var errWaiting = errors.New("waiting")

// loop brings one kind of object into the wanted state, Service by Service. Different Services are
// worked on in parallel, one Service never is.
type loop struct {
	sync    func(context.Context, types.NamespacedName) error
	workers int
	log     *slog.Logger
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	ledger  ledger
}

func newLoop(name string, workers int, lastRetry time.Duration, log *slog.Logger, sync func(context.Context, types.NamespacedName) error) *loop {
	return &loop{
		sync:    sync,
		workers: workers,
		log:     log.With("loop", name),
		queue:   workqueue.NewTypedRateLimitingQueue(newLimiter(lastRetry)),
	}
}

func newLimiter(lastRetry time.Duration) workqueue.TypedRateLimiter[types.NamespacedName] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, lastRetry)
}

// run works until ctx is done.
func (l *loop) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	workers.Wait()
}

// next syncs one Service; false means that the loop is over.
func (l *loop) next(ctx context.Context) bool {
	key, over := l.queue.Get()
	if over {
		return false
	}
	defer l.queue.Done(key)
	err := l.sync(ctx, key)
	switch {
	case err == nil:
		l.queue.Forget(key)
		return true
	case ctx.Err() != nil:
		return true
	case errors.Is(err, errWaiting), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		l.log.Debug("sync again", "service", key, "because", err)
	default:
		l.log.Error("sync failed", "service", key, "err", err, "tries", l.queue.NumRequeues(key)+1)
	}
	l.queue.AddRateLimited(key)
	return true
}

// wanted is called when something has changed that the Service's objects are derived from.
func (l *loop) wanted(key types.NamespacedName) { l.queue.Add(key) }

// written is called when the cache shows a new version of an object that the loop writes, whoever
// wrote it.
func (l *loop) written(key types.NamespacedName) {
	if l.ledger.observed(key) {
		l.queue.Add(key)
		return
	}
	l.queue.AddAfter(key, recheckDelay)
}

// deleted is called when an object that the loop writes has left the cache.
func (l *loop) deleted(key types.NamespacedName, uid types.UID) {
	if l.ledger.observed(key) || !l.ledger.expects(key, uid) {
		l.queue.Add(key)
	}
}

// postpone is called by a sync that finds the cache behind. The next event of the Service's
// objects wakes it; the timer is for the case that there is none, because a watch was interrupted
// and came back to a world in which they are gone.
func (l *loop) postpone(key types.NamespacedName) { l.queue.AddAfter(key, recheckDelay) }
