package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"fairlead.dev/fairlead/test/chaos/history"
)

// counts are what happened to the writes of a run.
type counts struct {
	acknowledged, refused, unknown, cancelled atomic.Int64
}

// load is a number of writers at work on one cluster, and what they were told.
type load struct {
	client dynamic.Interface
	counts counts

	pause sync.RWMutex // held for writing while the writers pause
	// last is the highest revision acknowledged to any writer: what is written later must have a higher one.
	last atomic.Uint64

	mu      sync.Mutex
	faults  []string            // what was wrong
	acks    map[string][]uint64 // revisions acknowledged since the last check, by resource
	writers []*writer
}

// wrong notes a broken promise.
func (l *load) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// writer is one client that writes objects of its own.
type writer struct {
	*load
	name    string
	random  *rand.Rand
	serial  int
	objects []*object
	// lost are objects of which only a create is known that was never answered: they may still come to be, and are looked at
	// with the others, but nothing is done to them.
	lost []*object
}

// object is one object of a writer's.
type object struct {
	kind
	name string
	history.Object
	last  *unstructured.Unstructured // as last read or acknowledged, nil if it is absent
	reads int                        // since its create was not answered
}

// keep is how many objects of all kinds a writer has at a time.
const keep = 40

// work writes until ctx ends.
func (w *writer) work(ctx context.Context) {
	for ctx.Err() == nil {
		w.pause.RLock()
		w.write(ctx)
		w.pause.RUnlock()
		time.Sleep(time.Duration(w.random.IntN(3)) * time.Millisecond) // leaves the machine to what is tested
	}
}

// write does one write to one object.
func (w *writer) write(ctx context.Context) {
	if len(w.objects) < keep && w.random.IntN(3) == 0 {
		w.serial++
		o := &object{kind: kinds[w.random.IntN(len(kinds))], name: fmt.Sprintf("%s-%d", w.name, w.serial)}
		w.objects = append(w.objects, o)
		w.create(ctx, o)
		return
	}
	if len(w.objects) == 0 {
		return
	}
	i := w.random.IntN(len(w.objects))
	o := w.objects[i]
	switch {
	case o.last == nil && o.Certain(): // deleted
		w.objects = slices.Delete(w.objects, i, i+1)
	case o.last == nil && o.reads >= 3:
		w.objects = slices.Delete(w.objects, i, i+1)
		w.lost = append(w.lost, o)
	case o.last == nil || !o.Certain() && w.random.IntN(2) == 0:
		o.reads++
		w.read(ctx, o)
	case w.random.IntN(4) == 0:
		w.remove(ctx, o)
	default:
		w.change(ctx, o)
	}
}

// limit is how long a write may take: mostly long enough, sometimes ended by the client half way.
func (w *writer) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.random.IntN(4) > 0 {
		return context.WithTimeout(ctx, 20*time.Second)
	}
	w.counts.cancelled.Add(1)
	return context.WithTimeout(ctx, time.Duration(w.random.IntN(8000))*time.Microsecond)
}

func (w *writer) resource(o *object) dynamic.ResourceInterface {
	return w.client.Resource(o.GroupVersionResource).Namespace(space)
}

func (w *writer) create(ctx context.Context, o *object) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	w.serial++
	floor, value := w.last.Load(), w.serial
	got, err := w.resource(o).Create(ctx, o.kind.object(o.name, value), metav1.CreateOptions{})
	w.outcome(o, "create", floor, value, got, err)
}

func (w *writer) change(ctx context.Context, o *object) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	w.serial++
	floor, value := w.last.Load(), w.serial
	if w.random.IntN(2) == 0 {
		next := o.last.DeepCopy()
		mark(next, value)
		got, err := w.resource(o).Update(ctx, next, metav1.UpdateOptions{})
		w.outcome(o, "update", floor, value, got, err)
		return
	}
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{ // strings always can be encoded
		"resourceVersion": o.last.GetResourceVersion(), "annotations": map[string]string{note: fmt.Sprint(value)}}})
	got, err := w.resource(o).Patch(ctx, o.name, types.MergePatchType, patch, metav1.PatchOptions{})
	w.outcome(o, "patch", floor, value, got, err)
}

func (w *writer) remove(ctx context.Context, o *object) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	uid, at := o.last.GetUID(), o.last.GetResourceVersion()
	err := w.resource(o).Delete(ctx, o.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &at}})
	w.outcome(o, "delete", 0, history.Absent, nil, err)
}

// outcome notes what a write was answered.
func (w *writer) outcome(o *object, verb string, floor uint64, value int, got *unstructured.Unstructured, err error) {
	switch {
	case err == nil && value == history.Absent:
		w.counts.acknowledged.Add(1)
		o.Acknowledged(history.Version{})
		o.last = nil
	case err == nil:
		w.counts.acknowledged.Add(1)
		w.acknowledge(o, verb, floor, got)
	case refused(err):
		w.counts.refused.Add(1)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			w.read(context.Background(), o)
		} else {
			w.wrong("%s %s %s: %v", verb, o.Resource, o.name, err)
		}
	default:
		w.counts.unknown.Add(1)
		if apierrors.IsInternalError(err) && !strings.Contains(err.Error(), "context canceled") {
			w.wrong("%s %s %s: an answer that says nothing: %v", verb, o.Resource, o.name, err)
		}
		o.Unknown(value)
	}
}

// acknowledge checks the order of revisions: a write that began after another was acknowledged has a higher one.
func (w *writer) acknowledge(o *object, verb string, floor uint64, got *unstructured.Unstructured) {
	at := revision(got.GetResourceVersion())
	if got.GetDeletionTimestamp() != nil { // a delete that was not answered has begun; the next write of any kind completes it
		o.Unknown(value(got))
		o.Unknown(history.Absent)
		return
	}
	if at <= floor {
		w.wrong("%s %s %s got revision %d after %d had been acknowledged", verb, o.Resource, o.name, at, floor)
	}
	for {
		old := w.last.Load()
		if at <= old || w.last.CompareAndSwap(old, at) {
			break
		}
	}
	w.mu.Lock()
	w.acks[o.Resource] = append(w.acks[o.Resource], at)
	w.mu.Unlock()
	o.Acknowledged(history.Version{Value: value(got), Revision: at})
	o.last = got
	if got != nil && got.GetDeletionTimestamp() != nil {
		o.Unknown(history.Absent)
	}
}

// refused reports whether an error says for certain that nothing was written.
func refused(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) ||
		apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err)
}

// read looks an object up and compares it with what may be.
func (w *writer) read(ctx context.Context, o *object) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	got, err := w.resource(o).Get(ctx, o.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		w.saw(o, nil)
	case err == nil:
		w.saw(o, got)
	}
}

func (w *writer) saw(o *object, got *unstructured.Unstructured) {
	v := history.Version{}
	if got != nil {
		v = history.Version{Value: value(got), Revision: revision(got.GetResourceVersion())}
	}
	if err := o.Saw(v); err != nil {
		w.wrong("%s %s: %v", o.Resource, o.name, err)
		o.Acknowledged(v) // told once
	}
	o.last = got
	if got != nil && got.GetDeletionTimestamp() != nil {
		o.Unknown(history.Absent)
	}
}
