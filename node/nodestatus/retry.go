package nodestatus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fairlead.dev/fairlead/kube"
)

// permanent is an error that trying again does not change.
type permanent struct{ error }

func (f *permanent) Unwrap() error { return f.error }

// The pauses between tries of what has to succeed: the first, the longest, and that from which on it is told.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = unreachable
	warnPause  = 300 * time.Millisecond
)

// retry calls f until it succeeds or its error is final, after longer and longer pauses. What it waits for is told to who asks why
// the node is not ready, and once in the log. It returns the last error when the context ends.
func (r *Reporter) retry(ctx context.Context, what string, f func() error) error {
	warned := ""
	var last *string
	for delay := firstPause; ; delay = min(2*delay, lastPause) {
		err := f()
		var end *permanent
		if err == nil || errors.As(err, &end) {
			r.waiting.CompareAndSwap(last, nil)
			return err
		}
		reason := fmt.Sprintf("waits for %s: %v", what, err)
		last = &reason
		r.waiting.Store(last)
		if delay >= warnPause && reason != warned && ctx.Err() == nil {
			r.log.Warn("the node "+reason, "node", r.cfg.Name)
			warned = reason
		}
		if !kube.Sleep(ctx, delay) {
			return err
		}
	}
}

// Waiting says what keeps the node from being ready, if anything does.
func (r *Reporter) Waiting() string {
	if reason := r.waiting.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Ready is closed when the API server has first taken from this agent that the node is ready.
func (r *Reporter) Ready() <-chan struct{} { return r.ready }
