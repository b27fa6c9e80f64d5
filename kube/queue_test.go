package kube

import (
	"context"
	"log/slog"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// As many workers as are allowed look at keys at once, whether these come together or each while all before are being looked at; with
// nothing to do a single one waits.
func TestWorkersComeWithKeys(t *testing.T) {
	const workers = 5
	ctx, end := context.WithCancel(t.Context())
	q := NewQueue[int]("crew", time.Second, slog.New(slog.DiscardHandler))
	begun, proceed := make(chan int), make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() {
		q.Work(ctx, workers, func(_ context.Context, key int) (time.Duration, error) {
			begun <- key
			<-proceed
			return 0, nil
		})
	})
	for round := range 50 {
		for key := range workers + 2 { // two find no worker
			q.Add(key)
			if round%2 == 0 && key < workers {
				<-begun
			}
		}
		if round%2 == 1 {
			for range workers {
				<-begun
			}
		}
		select {
		case key := <-begun:
			t.Fatalf("key %d is looked at by one worker too many", key)
		default:
		}
		for range workers {
			proceed <- struct{}{}
		}
		for range 2 {
			<-begun
			proceed <- struct{}{}
		}
	}
	idle := func() int {
		var stacks strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		return strings.Count(stacks.String(), "kube.(*Queue[...]).Work.func2(")
	}
	for n := idle(); n != 1; n = idle() { // the last ones are on their way out
		if n == 0 || t.Context().Err() != nil {
			t.Fatalf("%d workers wait", n)
		}
	}
	end()
	over.Wait()
	if n := idle(); n != 0 {
		t.Errorf("%d workers are left", n)
	}
}
