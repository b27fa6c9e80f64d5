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
// worked on in parallel, one Service never is. A plan is made from the cache with the loop's own
// writes, so that it creates nothing twice and takes no state before the last write for the present
// one (rules E37 and E68).
type loop[V kube.Object] struct {
	queue *kube.Queue[types.NamespacedName]
	own   kube.OwnWrites[types.NamespacedName, V] // by Service
}

func newLoop[V kube.Object](name string, lastRetry time.Duration, log *slog.Logger) *loop[V] {
	return &loop[V]{queue: kube.NewQueue[types.NamespacedName](name, lastRetry, log)}
}

// run works until ctx is done.
func (l *loop[V]) run(ctx context.Context, sync func(context.Context, types.NamespacedName) error) {
	l.queue.Work(ctx, workers, func(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
		return 0, sync(ctx, key)
	})
}

// wanted is called when something has changed that the Service's objects are derived from, or one of
// them is gone.
func (l *loop[V]) wanted(key types.NamespacedName) { l.queue.Add(key) }

// written is called when the cache shows a new version of an object that the loop writes, whoever
// wrote it.
func (l *loop[V]) written(key types.NamespacedName) { l.queue.AddAfter(key, recheckDelay) }
