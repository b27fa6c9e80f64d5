package feed

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/world"
)

// Source contributes entries besides those of Ingresses and Services, as Gateways do: at the ports of Services with annotation
// fairlead.dev/l7. Its functions are called by the one goroutine that feeds.
type Source struct {
	Name string // in the file: of several each has another
	// Derive returns the entries, and the Secrets that they name, as the World, the Secrets and its own objects are now. It is asked
	// after every change of Services, Secrets, and whenever Changed says so.
	Derive func(w *world.World, secret func(types.NamespacedName) *corev1.Secret) (map[route.Point]*route.Entry, []types.NamespacedName)
	// See is shown every Service that there is, and each that changes; nil: it need not be.
	See func(*corev1.Service)
	// Changed delivers a value when its own objects are not those before.
	Changed <-chan struct{}
	// Ready is closed when its own objects have been listed in full. What was kept is served until then. nil: it has none.
	Ready <-chan struct{}
	// Save returns its own objects to be kept as JSON, by a pointer to what nobody changes any more, and Restore has Derive answer by them
	// until Ready. nil: there is nothing to keep.
	Save    func() any
	Restore func(json.RawMessage) error
	// Served is called when the engine serves what Derive returned last; nil: nobody is told.
	Served func()
}

// contribution is what a Source gave last.
type contribution struct {
	entries map[route.Point]*route.Entry
	secrets []types.NamespacedName
}

// ask asks the Sources, and reports whether there are any.
func (f *Feed) ask(w *world.World) bool {
	for i, s := range f.cfg.Sources {
		f.sources[i].entries, f.sources[i].secrets = s.Derive(w, f.secret)
		if s.Save != nil {
			f.touched.add(itemSource, types.NamespacedName{Name: s.Name})
		}
	}
	return len(f.cfg.Sources) > 0
}

// awaitAll waits until the World and the Sources are complete; false: ctx has ended before.
func (f *Feed) awaitAll(ctx context.Context, w *world.World) bool {
	all := []<-chan struct{}{w.Synced()}
	for _, s := range f.cfg.Sources {
		if s.Ready != nil {
			all = append(all, s.Ready)
		}
	}
	for _, one := range all {
		select {
		case <-one:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// followSources pokes the goroutine that feeds when a Source has changed, until ctx is done.
func (f *Feed) followSources(ctx context.Context) {
	for _, s := range f.cfg.Sources {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-s.Changed:
				}
				select {
				case f.poked <- struct{}{}:
				default: // it is about to look
				}
			}
		}()
	}
}

// restoreSources gives the Sources what was kept of them.
func (f *Feed) restoreSources(s *saved) {
	for _, source := range f.cfg.Sources {
		if raw := s.sources[source.Name]; raw != nil && source.Restore != nil {
			if err := source.Restore(raw); err != nil {
				f.log.Warn("what was served before is not known in full", "of", source.Name, "err", err)
			}
		}
	}
}
