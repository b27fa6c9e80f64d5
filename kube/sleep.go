package kube

import (
	"context"
	"time"
)

// Sleep waits for a time or for the end of the context, and tells whether the time has passed.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
