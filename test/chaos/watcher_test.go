package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// watcher follows one resource as an informer does: it lists once, watches from there, goes on where it was when the
// connection breaks, and lists again only when it is told that it is too late.
type watcher struct {
	*load
	kind

	mu    sync.Mutex
	state map[string]uint64 // revisions by name
	seen  map[uint64]bool   // revisions of events since the last check
	from  uint64            // what came later was seen as an event, as long as nothing forced a list
	at    uint64            // how far it is
	lists int
}

func (w *watcher) work(ctx context.Context) {
	for ctx.Err() == nil {
		if w.at == 0 && w.list(ctx) != nil || w.follow(ctx) != nil {
			time.Sleep(20 * time.Millisecond) // nobody answers
		}
	}
}

// list takes the whole state anew.
func (w *watcher) list(ctx context.Context) error {
	list, err := w.client.Resource(w.GroupVersionResource).Namespace(space).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = map[string]uint64{}
	for i := range list.Items {
		w.state[list.Items[i].GetName()] = revision(list.Items[i].GetResourceVersion())
	}
	w.at = revision(list.GetResourceVersion())
	w.from = w.at
	w.lists++
	return nil
}

// follow reads events until the connection ends.
func (w *watcher) follow(ctx context.Context) error {
	events, err := w.client.Resource(w.GroupVersionResource).Namespace(space).Watch(ctx,
		metav1.ListOptions{ResourceVersion: fmt.Sprint(w.at), AllowWatchBookmarks: true})
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			w.at = 0
		}
		return err
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		if err := w.take(e); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) take(e watch.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == watch.Error {
		err := apierrors.FromObject(e.Object)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			w.at = 0
		}
		return err
	}
	u := e.Object.(*unstructured.Unstructured)
	at, name := revision(u.GetResourceVersion()), u.GetName()
	known, have := w.state[name]
	switch {
	case e.Type == watch.Bookmark && at < w.at, e.Type != watch.Bookmark && at <= w.at:
		w.wrong("watch of %s: %s %s at revision %d after %d", w.Resource, e.Type, name, at, w.at)
	case e.Type == watch.Added && have:
		w.wrong("watch of %s: %s was added at revision %d and was there at %d", w.Resource, name, at, known)
	case e.Type == watch.Modified && !have, e.Type == watch.Deleted && !have:
		w.wrong("watch of %s: %s %s at revision %d, and nobody had told of it", w.Resource, e.Type, name, at)
	}
	w.at = max(w.at, at)
	switch e.Type {
	case watch.Added, watch.Modified:
		w.state[name] = at
		w.seen[at] = true
	case watch.Deleted:
		delete(w.state, name)
	}
	return nil
}

// agrees is nil once the watcher knows exactly what a list answered.
func (w *watcher) agrees(list map[string]uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if maps.Equal(w.state, list) {
		return nil
	}
	return fmt.Errorf("watch of %s: it has %d objects at revision %d, a list %d; different are %v", w.Resource, len(w.state), w.at, len(list), different(w.state, list))
}

// missed lists the revisions among those acknowledged that no event told of, and forgets what it has seen.
func (w *watcher) missed(acks []uint64) []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	missed := slices.DeleteFunc(slices.Clone(acks), func(at uint64) bool { return at <= w.from || w.seen[at] })
	clear(w.seen)
	w.from = w.at
	return missed
}

func different(a, b map[string]uint64) []string {
	var names []string
	for name := range a {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), 5)]
}
