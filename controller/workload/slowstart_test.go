package workload

import (
	"errors"
	"sync/atomic"
	"testing"
)

func TestD24_SlowStart(t *testing.T) {
	var calls atomic.Int32
	if err := slowStart(100, func() error { calls.Add(1); return nil }); err != nil || calls.Load() != 100 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	calls.Store(0)
	refused := errors.New("quota")
	if err := slowStart(100, func() error { calls.Add(1); return refused }); !errors.Is(err, refused) || calls.Load() != 1 {
		t.Errorf("a set whose pods are refused asks %d times (%v), want once", calls.Load(), err)
	}
	calls.Store(0)
	err := slowStart(100, func() error {
		if calls.Add(1) > 3 {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) || calls.Load() != 7 {
		t.Errorf("batches of 1, 2, 4 make %d calls, want 7", calls.Load())
	}
}
