package apitest

import (
	"context"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/informers"
)

// Control runs controllers and the informers that they share until the test ends or the returned function is called, which waits
// for their end. A controller that returns an error fails the test.
func Control(t testing.TB, shared informers.SharedInformerFactory, runs ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, run := range runs {
		all.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("controller: %v", err)
			}
		})
	}
	shared.Start(ctx.Done())
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		shared.Shutdown()
	})
	t.Cleanup(stop)
	return stop
}

// Eventually waits until holds returns "", and fails the test with what it returned last when that takes a minute; on a quiet
// machine it takes milliseconds.
func Eventually(t testing.TB, holds func() string) {
	t.Helper()
	why := holds()
	for end := time.Now().Add(patience); why != "" && time.Now().Before(end); why = holds() {
		time.Sleep(5 * time.Millisecond)
	}
	if why != "" {
		t.Fatal(why)
	}
}
