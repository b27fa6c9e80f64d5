package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestFlowsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(1, 100)
		first, err := turns.Take(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		for _, name := range []string{"crowd", "crowd", "crowd", "other", "crowd", "third", "other"} {
			all.Go(func() {
				done, err := turns.Take(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				done()
				done() // once counts
			})
			synctest.Wait()
		}
		first()
		all.Wait()
		if want := []string{"crowd", "other", "third", "crowd", "other", "crowd", "crowd"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if turns.free != 1 || turns.waiting != 0 || len(turns.flows) != 0 {
			t.Errorf("%d free, %d waiting, %d flows after all are done", turns.free, turns.waiting, len(turns.flows))
		}
	})
}

func TestTheLineEnds(t *testing.T) {
	turns := New(1, 0)
	if _, err := turns.Take(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := turns.Take(t.Context(), "b"); !errors.Is(err, ErrFull) {
		t.Errorf("error %v", err)
	}
}

// Whoever gives up while waiting takes no turn with them, also when the turn comes in the same moment.
func TestGivingUpLosesNoTurn(t *testing.T) {
	turns := New(2, 1000)
	var all sync.WaitGroup
	var busy, most atomic.Int32
	for i := range 500 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%2 == 0 {
				go cancel()
			}
			done, err := turns.Take(ctx, string(rune('a'+i%5)))
			if err != nil {
				return
			}
			if n := busy.Add(1); n > most.Load() {
				most.Store(n)
			}
			busy.Add(-1)
			done()
		})
	}
	all.Wait()
	if most.Load() > 2 {
		t.Errorf("%d had a turn at once, of 2", most.Load())
	}
	if turns.free != 2 || turns.waiting != 0 || len(turns.flows) != 0 {
		t.Errorf("%d free, %d waiting, %d flows after all are done", turns.free, turns.waiting, len(turns.flows))
	}
}
