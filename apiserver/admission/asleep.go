package admission

import (
	"context"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// asleep is a plugin that is made when there is the first of the objects that it decides by, or the first request that it decides about.
// Until then a request costs it a look at a number, or at itself, and there is no memory, no goroutine, no timer and no watch for it.
type asleep struct {
	needed func(context.Context, admission.Attributes) (bool, error)
	wake   func() (admission.Interface, error)

	mu   sync.Mutex // held while it is made
	made atomic.Pointer[admission.Interface]
}

var (
	_ admission.MutationInterface   = &asleep{}
	_ admission.ValidationInterface = &asleep{}
)

// first is the first of the objects of a kind.
type first struct {
	of    schema.GroupResource
	empty func(context.Context, schema.GroupResource) (bool, error)
	there atomic.Int32 // unknown, absent or present
}

// Whether there is an object of the kind.
const (
	unknown = iota
	absent
	present
)

func newFirst(s Server, of schema.GroupResource) *first {
	f := &first{of: of, empty: s.Empty}
	s.Created(func(r schema.GroupResource) {
		if r == of {
			f.there.Store(present)
		}
	})
	return f
}

// plugin returns the plugin, or nil while there is nothing to decide by.
func (s *asleep) plugin(ctx context.Context, a admission.Attributes) (admission.Interface, error) {
	if made := s.made.Load(); made != nil {
		return *made, nil
	}
	if needed, err := s.needed(ctx, a); err != nil || !needed {
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
func (s *first) needed(ctx context.Context, _ admission.Attributes) (bool, error) {
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
	p, err := s.plugin(ctx, a)
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
	p, err := s.plugin(ctx, a)
	if err != nil || p == nil || !p.Handles(a.GetOperation()) {
		return err
	}
	if plugin, ok := p.(admission.ValidationInterface); ok {
		return plugin.Validate(ctx, a, o)
	}
	return nil
}
