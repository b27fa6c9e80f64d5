package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
)

// firstRetry is the pause after the first failure of a key. It doubles with each further one (that of client-go, and of
// Kubernetes' controllers: rule E36).
const firstRetry = 5 * time.Millisecond

// ErrWaiting says that a key cannot be finished yet, for a reason that is no failure. It is tried again as after one.
var ErrWaiting = errors.New("waiting")

// Queue is the keys of objects to look at. Its own methods are those of client-go's queues.
type Queue[K comparable] struct {
	workqueue.TypedRateLimitingInterface[K]
	log *slog.Logger
}

// NewQueue returns an empty queue. A key that keeps failing is tried again after lastRetry at the latest.
func NewQueue[K comparable](name string, lastRetry time.Duration, log *slog.Logger) *Queue[K] {
	return &Queue[K]{
		TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueueWithConfig(
			limiter[K](lastRetry),
			workqueue.TypedRateLimitingQueueConfig[K]{Name: name}),
		log: log.With("queue", name),
	}
}

func limiter[K comparable](lastRetry time.Duration) workqueue.TypedRateLimiter[K] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
}

// Work has so many workers call look for one key after the other, until ctx is done; then it shuts the queue down, and returns
// when the last worker has. A key for which look returns no error is looked at again after the time that it returns, 0 for
// never.
func (q *Queue[K]) Work(ctx context.Context, workers int, look func(context.Context, K) (again time.Duration, err error)) {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for q.next(ctx, look) {
			}
		})
	}
	<-ctx.Done()
	q.ShutDown()
	all.Wait()
}

// next takes one key; false means that the queue is shut down.
func (q *Queue[K]) next(ctx context.Context, look func(context.Context, K) (time.Duration, error)) bool {
	key, over := q.Get()
	if over {
		return false
	}
	defer q.Done(key)
	again, err := look(ctx, key)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		level := slog.LevelWarn
		if Expected(err) {
			level = slog.LevelDebug
		}
		q.log.Log(ctx, level, "will try again", "object", fmt.Sprint(key), "tries", q.NumRequeues(key)+1, "err", err)
		q.AddRateLimited(key)
	default:
		q.Forget(key)
		if again > 0 {
			q.AddAfter(key, again)
		}
	}
	return true
}

// Expected reports whether an error only says that something has to be waited for, or that the caches were behind what others
// have written meanwhile. It is nobody's concern: the next try settles it.
func Expected(err error) bool {
	return errors.Is(err, ErrWaiting) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}
