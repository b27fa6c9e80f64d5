package custom

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const (
	// idleFor is how long a machine that nobody uses is kept.
	idleFor = time.Minute
	// buildTime bounds how long other definitions wait for the store.
	buildTime = 30 * time.Second
	// idleSchemas bounds how many schemas machines that nobody uses may hold together; each takes some kilobytes.
	idleSchemas = 4000
)

// fleet is the machines there are. A request builds the one it needs; one that nobody uses is let go, because to build
// it again costs hundredths of a second, and to keep it megabytes. A watch uses its machine as long as it lasts.
type fleet struct {
	build    func(ctx context.Context, name string) (*machine, error)
	building gate

	mu       sync.Mutex
	machines map[types.UID]*machine
	sweeper  *time.Timer // runs when the next idle machine is due; nil: there is none
}

// take returns the machine of a definition for one use, which give ends.
func (f *fleet) take(ctx context.Context, d *apiextensionsv1.CustomResourceDefinition) (*machine, error) {
	if m := f.find(d); m != nil {
		return m, nil
	}
	if err := f.building.pass(ctx); err != nil {
		return nil, err
	}
	defer f.building.leave()
	if m := f.find(d); m != nil {
		return m, nil // another request that waited has built it
	}
	// A client that goes away must not break off what others wait for too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), buildTime)
	defer cancel()
	m, err := f.build(ctx, d.Name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(f.machines[m.uid])
	m.users++
	f.machines[m.uid] = m
	return m, nil
}

func (f *fleet) find(d *apiextensionsv1.CustomResourceDefinition) *machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[d.UID]
	if m == nil || !m.serves(d) {
		return nil
	}
	m.users++
	return m
}

func (f *fleet) give(m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.users--; m.users > 0 {
		return
	}
	m.used = time.Now()
	if f.machines[m.uid] != m {
		m.retire() // it was dropped while it was used
		return
	}
	f.sweep()
}

// drop takes a machine out of use, with f.mu held: its watches end, and what is left of it goes with its last request.
func (f *fleet) drop(m *machine) {
	if m == nil {
		return
	}
	delete(f.machines, m.uid)
	m.end()
	if m.users == 0 {
		m.retire()
	}
}

// sweep drops idle machines that are due or too many, with f.mu held, the longest idle first.
func (f *fleet) sweep() {
	var idle []*machine
	schemas := 0
	for _, m := range f.machines {
		if m.users == 0 {
			idle = append(idle, m)
			schemas += m.schemas
		}
	}
	slices.SortFunc(idle, func(a, b *machine) int { return a.used.Compare(b.used) })
	now := time.Now()
	for len(idle) > 0 && (schemas > idleSchemas || now.Sub(idle[0].used) >= idleFor) {
		schemas -= idle[0].schemas
		f.drop(idle[0])
		idle = idle[1:]
	}
	if f.sweeper != nil {
		f.sweeper.Stop()
		f.sweeper = nil
	}
	if len(idle) > 0 {
		f.sweeper = time.AfterFunc(idleFor-now.Sub(idle[0].used), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.sweep()
		})
	}
}

// destroy closes the storage of every machine at once.
func (f *fleet) destroy() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.machines {
		m.destroy()
	}
	clear(f.machines)
	f.sweep()
}

// handlers keep the fleet up with the definitions: a machine of one that has changed or gone is dropped.
func (f *fleet) handlers() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, now any) { f.changed(old, now) },
		DeleteFunc: func(old any) { f.changed(old, nil) },
	}
}

func (f *fleet) changed(old, now any) {
	if gone, ok := old.(cache.DeletedFinalStateUnknown); ok {
		old = gone.Obj
	}
	was, ok := old.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[was.UID]
	if is, ok := now.(*apiextensionsv1.CustomResourceDefinition); m != nil && !(ok && m.serves(is)) {
		f.drop(m)
	}
}

// serve answers a request for objects of a definition.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request, d *apiextensionsv1.CustomResourceDefinition, watch bool) error {
	m, err := f.take(r.Context(), d)
	if err != nil {
		return err
	}
	defer f.give(m)
	if watch {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(m.ended, cancel)()
		r = r.WithContext(ctx)
	}
	m.ServeHTTP(w, r)
	return nil
}
