package admission

import (
	"context"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/tools/cache"
)

// asleep is a plugin that is made when there is the first of the objects that it decides by. Until then a request costs it a look at
// an empty cache, and it has no memory, no goroutine and no timer.
type asleep struct {
	by   []cache.SharedIndexInformer
	wake func() (admission.Interface, error)

	mu   sync.Mutex // held while it is made
	made atomic.Pointer[admission.Interface]
}

var (
	_ admission.MutationInterface   = &asleep{}
	_ admission.ValidationInterface = &asleep{}
)

// plugin returns the plugin, or nil while there is nothing to decide by.
func (s *asleep) plugin() (admission.Interface, error) {
	if made := s.made.Load(); made != nil {
		return *made, nil
	}
	if !s.needed() {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.made.Load(); made != nil {
		return *made, nil
	}
	made, err := s.wake()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	s.made.Store(&made)
	return made, nil
}

func (s *asleep) needed() bool {
	for _, informer := range s.by {
		if len(informer.GetStore().ListKeys()) > 0 {
			return true
		}
	}
	return false
}

// Handles is part of admission.Interface. Asleep, it would handle whatever comes.
func (s *asleep) Handles(operation admission.Operation) bool {
	if made := s.made.Load(); made != nil {
		return (*made).Handles(operation)
	}
	return true
}

// Admit is part of admission.MutationInterface.
func (s *asleep) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := s.plugin()
	if err != nil || p == nil || !p.Handles(a.GetOperation()) {
		return err
	}
	if plugin, ok := p.(admission.MutationInterface); ok {
		return plugin.Admit(ctx, a, o)
	}
	return nil
}

// Validate is part of admission.ValidationInterface.
func (s *asleep) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := s.plugin()
	if err != nil || p == nil || !p.Handles(a.GetOperation()) {
		return err
	}
	if plugin, ok := p.(admission.ValidationInterface); ok {
		return plugin.Validate(ctx, a, o)
	}
	return nil
}
