package admission

import (
	"context"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// asleep is a plugin that is made when there is the first of the objects that it decides by. Until then a request costs it a look at a
// number, and there is no memory, no goroutine, no timer and no watch for it.
type asleep struct {
	of    schema.GroupResource
	empty func(context.Context, schema.GroupResource) (bool, error)
	wake  func() (admission.Interface, error)
	there atomic.Int32 // unknown, absent or present

	mu   sync.Mutex // held while it is made
	made atomic.Pointer[admission.Interface]
}

// Whether there is an object of the kind.
const (
	unknown = iota
	absent
	present
)

var (
	_ admission.MutationInterface   = &asleep{}
	_ admission.ValidationInterface = &asleep{}
)

func newAsleep(s Server, of schema.GroupResource, wake func() (admission.Interface, error)) *asleep {
	a := &asleep{of: of, empty: s.Empty, wake: wake}
	s.Created(func(r schema.GroupResource) {
		if r == of {
			a.there.Store(present)
		}
	})
	return a
}

// plugin returns the plugin, or nil while there is nothing to decide by.
func (s *asleep) plugin(ctx context.Context) (admission.Interface, error) {
	if made := s.made.Load(); made != nil {
		return *made, nil
	}
	if needed, err := s.needed(ctx); err != nil || !needed {
		return nil, err
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

// needed looks in the store once, and knows of what is made from then on.
func (s *asleep) needed(ctx context.Context) (bool, error) {
	if s.there.Load() == unknown {
		empty, err := s.empty(ctx, s.of)
		if err != nil {
			return false, apierrors.NewServiceUnavailable("what admission decides by cannot be read yet, try again: " + err.Error())
		}
		next := int32(present)
		if empty {
			next = absent
		}
		s.there.CompareAndSwap(unknown, next) // else one has been made meanwhile
	}
	return s.there.Load() == present, nil
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
	p, err := s.plugin(ctx)
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
	p, err := s.plugin(ctx)
	if err != nil || p == nil || !p.Handles(a.GetOperation()) {
		return err
	}
	if plugin, ok := p.(admission.ValidationInterface); ok {
		return plugin.Validate(ctx, a, o)
	}
	return nil
}
