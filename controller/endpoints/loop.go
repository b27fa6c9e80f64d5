package endpoints

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/kube"
)

const (
	// lastRetry bounds the exponential back-off of a Service whose sync fails as in Kubernetes'
	// endpointslice controller (rule E68), lastMirrorRetry as in its mirroring controller (rule
	// E109). Unlike there a Service is never given up.
	lastRetry       = 1000 * time.Second
	lastMirrorRetry = 100 * time.Second

	// recheckDelay is how long after a change of an object that the loop writes the loop looks at
	// it again, so that an edit by hand is corrected without a fight at full speed against another
	// program that keeps editing (rule E67).
	recheckDelay = time.Second
)

// loop brings one kind of object into the wanted state, Service by Service. Different Services are
// worked on in parallel, one Service never is.
type loop struct {
	queue  *kube.Queue[types.NamespacedName]
	ledger ledger
}

func newLoop(name string, lastRetry time.Duration, log *slog.Logger) *loop {
	return &loop{queue: kube.NewQueue[types.NamespacedName](name, lastRetry, log)}
}

// run works until ctx is done.
func (l *loop) run(ctx context.Context, sync func(context.Context, types.NamespacedName) error) {
	l.queue.Work(ctx, workers, func(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
		return 0, sync(ctx, key)
	})
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
