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
	"k8s.io/utils/clock"
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
			workqueue.TypedRateLimitingQueueConfig[K]{Name: name, Clock: seldom{}}),
		log: log.With("queue", name),
	}
}

// seldom is the clock, whose tickers have a period of ten seconds at least: a queue measures twice a second how long its keys have been
// worked on, also when there are none, and nobody reads that as often.
type seldom struct{ clock.RealClock }

// NewTicker is part of clock.WithTicker.
func (c seldom) NewTicker(period time.Duration) clock.Ticker {
	return c.RealClock.NewTicker(max(period, 10*time.Second))
}

func limiter[K comparable](lastRetry time.Duration) workqueue.TypedRateLimiter[K] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry)
}

// Work has up to so many workers call look for one key after the other, until ctx is done; then it shuts the queue down, and returns
// when the last worker has. A key for which look returns no error is looked at again after the time that it returns, 0 for
// never. Only one worker waits for keys: whoever takes one has another wait in its place, and goes when somebody waits already.
func (q *Queue[K]) Work(ctx context.Context, workers int, look func(context.Context, K) (again time.Duration, err error)) {
	var (
		all            sync.WaitGroup
		mu             sync.Mutex // guards the following
		hired, waiting int
		work           func()
	)
	hire := func() {
		if waiting == 0 && hired < workers {
			hired, waiting = hired+1, waiting+1
			all.Go(work)
		}
	}
	work = func() {
		for {
			key, over := q.Get()
			if over {
				return
			}
			mu.Lock()
			waiting--
			hire()
			mu.Unlock()
			q.look(ctx, key, look)
			mu.Lock()
			if waiting > 0 && q.Len() == 0 {
				hired--
				mu.Unlock()
				return
			}
			waiting++
			mu.Unlock()
		}
	}
	mu.Lock()
	hire()
	mu.Unlock()
	<-ctx.Done()
	q.ShutDown()
	all.Wait()
}

// look has a key looked at.
func (q *Queue[K]) look(ctx context.Context, key K, look func(context.Context, K) (time.Duration, error)) {
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
}

// Expected reports whether an error only says that something has to be waited for, or that the caches were behind what others
// have written meanwhile. It is nobody's concern: the next try settles it.
func Expected(err error) bool {
	return errors.Is(err, ErrWaiting) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}
