package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/life"
)

// act begins one action. What takes time goes on beside the worker and reports back through its mailbox.
func (w *worker) act(ctx context.Context, action life.Action) {
	switch action.Kind {
	case life.RunSandbox:
		w.beginSandbox(ctx, action)
	case life.Start:
		w.beginStart(ctx, action)
	case life.Resize:
		w.beginResize(ctx)
	case life.Kill:
		w.beginKill(ctx, action)
	case life.StopSandbox, life.RemoveSandbox, life.Remove:
		w.beginRemoval(ctx, action)
	case life.Delete:
		w.beginDelete(ctx, action)
	case life.Cleanup:
		w.cleanup(ctx)
	}
}

// beginStarting marks that a start is under way and gives it a context that ends when the pod is to go.
func (w *worker) beginStarting(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	w.mem.Starting, w.cancel = true, cancel
	return ctx
}

func (w *worker) endStarting() {
	w.cancel()
	w.cancel = nil
	w.mem.Starting, w.stale = false, true
	if w.anewAgain {
		w.mem.Anew, w.anewAgain = time.Now(), false
	}
}

func (w *worker) terminating() bool { return w.gone || w.pod.DeletionTimestamp != nil }

// Waits between tries of what the runtime or the API refuses.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// attempt does something beside the worker that may fail, and tells the worker how it ended. After each failure in a row that
// it hears later: whatever is tried again is tried less and less often.
func (w *worker) attempt(ctx context.Context, action life.Action, do func() error, then func(error)) {
	key := string(action.Kind) + action.ID
	delay := life.Grow(w.failing[key], firstRetry, lastRetry)
	w.async(func() func() {
		err := do()
		if err != nil && ctx.Err() == nil {
			w.log.Warn("the pod cannot be brought forward", "action", action.Kind, "container", action.Name, "err", err, "again", delay)
			kube.Sleep(ctx, delay)
		}
		return func() {
			w.failing[key] = delay
			if err == nil {
				delete(w.failing, key)
			}
			then(err)
		}
	})
}

// current is the pod with what it has been given of what it asks for, and with the status as it is now, for what reads the pod's address.
func (w *worker) current() *corev1.Pod {
	pod := life.Given(w.pod, w.mem.Given).DeepCopy()
	pod.Status = life.Status(w.view())
	return pod
}
