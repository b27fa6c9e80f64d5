package admission

import (
	"context"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/tools/cache"
)

// patience is how long a write waits for what plugins decide by, which is there when the server is ready.
const patience = 10 * time.Second

// gate is the whole chain: a write passes when the caches are filled that plugins decide by.
type gate struct {
	chain  admission.Interface
	synced []<-chan struct{}
	open   atomic.Bool
}

var (
	_ admission.MutationInterface   = &gate{}
	_ admission.ValidationInterface = &gate{}
)

func (g *gate) awaits(informer cache.SharedIndexInformer) {
	g.synced = append(g.synced, informer.HasSyncedChecker().Done())
}

func (g *gate) pass(ctx context.Context) error {
	if g.open.Load() {
		return nil
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for _, synced := range g.synced {
		select {
		case <-synced:
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return apierrors.NewServiceUnavailable("what admission decides by is not read yet, try again")
		}
	}
	g.open.Store(true)
	return nil
}

// Handles is part of admission.Interface.
func (g *gate) Handles(operation admission.Operation) bool { return g.chain.Handles(operation) }

// Admit is part of admission.MutationInterface.
func (g *gate) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.chain.(admission.MutationInterface).Admit(ctx, a, hub{o})
}

// Validate is part of admission.ValidationInterface.
func (g *gate) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.chain.(admission.ValidationInterface).Validate(ctx, a, hub{o})
}
