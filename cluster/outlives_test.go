package cluster

import (
	"context"
	"testing"
	"time"
)

// TestOutlives: what others rely on ends after all of them, however they end, and not with the context before that.
func TestOutlives(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	leave := make(chan struct{})
	slow := func(ctx context.Context) error {
		<-ctx.Done()
		<-leave
		return nil
	}
	started, ended := make(chan struct{}), make(chan struct{})
	run, others := outlives(func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil
	}, slow, func(context.Context) error { return nil })
	for _, other := range others {
		go func() { _ = other(ctx) }()
	}
	done := make(chan error)
	go func() { done <- run(ctx) }()
	<-started
	cancel()
	select {
	case <-ended:
		t.Fatal("it ended before the others")
	case <-time.After(50 * time.Millisecond): // which one that ends with the context does not take
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-ended
}
