package world

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Share fills the World with what the informers of a factory read, in a process that has them anyway: it adds no list and no
// watch, and holds the very objects that are in their caches. It must come before whoever else asks the factory for an
// informer of these kinds, and before its start. A change is in the World before it is in a cache: what is read is taken on
// its way there.
func (w *World) Share(factory informers.SharedInformerFactory) {
	w.await(w.all())
	for _, kind := range w.all() {
		t, ours := w.tables[kind], false
		factory.InformerFor(t.example(), func(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
			ours = true
			source := cache.ToListWatcherWithWatchListSemantics((&tee{world: w, table: t}).around(t.source(client)), client)
			return cache.NewSharedIndexInformer(source, t.example(), resync, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		})
		if !ours {
			panic(fmt.Sprintf("BUG: world: somebody else has the informer of %s already", t.of()))
		}
	}
}

// tee gives the World what an informer reads of one kind.
type tee struct {
	world *World
	table anyTable
	pages []runtime.Object // of a list that is being read page by page
}

// around returns a ListWatch that reads as lw does.
func (t *tee) around(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			return list, t.listed(list, o.Continue != "")
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			s := &stream{Interface: w, tee: t, result: make(chan watch.Event), stopped: make(chan struct{})}
			if o.SendInitialEvents != nil && *o.SendInitialEvents {
				s.first = map[types.NamespacedName]runtime.Object{}
			}
			go s.run()
			return s, nil
		},
	}
}

// listed takes a list, or a page of one that continues the pages before.
func (t *tee) listed(list runtime.Object, continues bool) error {
	if !continues {
		t.pages = nil
	}
	err := meta.EachListItem(list, func(o runtime.Object) error {
		withoutManaged(o)
		t.pages = append(t.pages, o)
		return nil
	})
	if err != nil {
		return err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	if m.GetContinue() == "" {
		t.world.replace(t.table.of(), t.pages, m.GetResourceVersion())
		t.pages = nil
	}
	return nil
}

// withoutManaged drops from an object, which nobody else has yet, what no cache in this process keeps.
func withoutManaged(o runtime.Object) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
}

// stream is a watch that an informer reads. One that begins with a list, as a bookmark at its end tells, is taken as one:
// until then the World keeps what it has.
type stream struct {
	watch.Interface
	tee     *tee
	first   map[types.NamespacedName]runtime.Object // of that list; nil: it is over, or there was none
	result  chan watch.Event
	stop    sync.Once
	stopped chan struct{}
}

// ResultChan is part of watch.Interface.
func (s *stream) ResultChan() <-chan watch.Event { return s.result }

// Stop is part of watch.Interface.
func (s *stream) Stop() {
	s.stop.Do(func() { close(s.stopped) })
	s.Interface.Stop()
}

func (s *stream) run() {
	defer close(s.result)
	for e := range s.Interface.ResultChan() {
		if e.Type != watch.Error {
			s.take(e)
		}
		select {
		case s.result <- e:
		case <-s.stopped: // the informer reads this change again, from another watch
			return
		}
	}
}

// take takes what happened to an object.
func (s *stream) take(e watch.Event) {
	m, err := meta.Accessor(e.Object)
	if err != nil {
		return
	}
	switch name := nameOf(m); {
	case e.Type == watch.Bookmark && s.first != nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
		all := make([]runtime.Object, 0, len(s.first))
		for _, o := range s.first {
			all = append(all, o)
		}
		s.first = nil
		s.tee.world.replace(s.tee.table.of(), all, m.GetResourceVersion())
	case e.Type == watch.Bookmark:
	case e.Type == watch.Deleted && s.first != nil:
		delete(s.first, name)
	case e.Type == watch.Deleted:
		s.tee.world.Delete(e.Object)
	case s.first != nil:
		m.SetManagedFields(nil)
		s.first[name] = e.Object
	default:
		m.SetManagedFields(nil)
		s.tee.world.Put(e.Object)
	}
}
