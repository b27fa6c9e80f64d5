package node

import (
	"context"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// act begins one action. What takes time goes on beside the worker and reports back through its mailbox.
func (w *worker) act(ctx context.Context, action life.Action) {
	switch action.Kind {
	case life.RunSandbox:
		w.beginSandbox(ctx, action)
	case life.Start:
		w.beginStart(ctx, action)
	case life.Kill:
		w.beginKill(ctx, action)
	case life.StopSandbox, life.RemoveSandbox, life.Remove:
		w.beginRemoval(ctx, action)
	case life.Delete:
		w.beginDelete(ctx, action)
	case life.Forget:
		w.forget(ctx)
	}
}

// checkAdmission refuses what this node must not run, and ends what has run for too long.
func (w *worker) checkAdmission() {
	if w.mem.Rejected != nil {
		return
	}
	if message := spec.ForbiddenSysctl(w.pod); message != "" {
		w.reject("SysctlForbidden", message)
		return
	}
	limit := w.pod.Spec.ActiveDeadlineSeconds
	if limit != nil && w.pod.Status.StartTime != nil && time.Since(w.pod.Status.StartTime.Time) >= time.Duration(*limit)*time.Second {
		w.reject("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
	}
}

func (w *worker) reject(reason, message string) {
	w.mem.Rejected = &life.Rejection{Reason: reason, Message: message}
	if w.pod.Status.Phase != corev1.PodFailed {
		w.event(corev1.EventTypeWarning, reason, message)
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
}

func (w *worker) beginSandbox(ctx context.Context, action life.Action) {
	ctx = w.beginStarting(ctx)
	pod, old := w.pod.DeepCopy(), w.seen.Sandboxes
	w.async(func() func() {
		err := w.a.runSandbox(ctx, pod, old, action.Attempt)
		return func() {
			w.endStarting()
			w.setupResult(ctx, err)
		}
	})
}

// setupDelays bound the wait before volumes and sandbox are tried again.
const (
	firstSetupDelay = time.Second
	lastSetupDelay  = 16 * time.Second
)

func (w *worker) setupResult(ctx context.Context, err error) {
	var mount *mountError
	switch {
	case err == nil:
		w.mem.Setup = life.Trouble{}
		w.tellDNS()
		return
	case ctx.Err() != nil && w.leaving():
		return
	case errors.As(err, &mount):
		w.event(corev1.EventTypeWarning, "FailedMount", mount.Error())
	default:
		w.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+message(err))
	}
	delay := life.Grow(w.mem.Setup.Delay, firstSetupDelay, lastSetupDelay)
	w.mem.Setup = life.Trouble{Delay: delay, Retry: time.Now().Add(delay)}
	w.log.Warn("the sandbox cannot be set up", "error", err)
}

func (w *worker) leaving() bool { return w.gone || w.pod.DeletionTimestamp != nil }

func (w *worker) beginKill(ctx context.Context, action life.Action) {
	if _, again := w.mem.Killing[action.ID]; !again {
		w.containerEvent(action.Name, corev1.EventTypeNormal, "Killing", action.Message)
	}
	w.mem.Killing[action.ID] = action.Grace
	pod := w.current()
	w.attempt(ctx, action, func() error { return w.kill(ctx, pod, action) }, func(error) {
		if w.mem.Killing[action.ID] == action.Grace {
			delete(w.mem.Killing, action.ID)
		}
		w.stale = true
	})
}

// Waits between tries of what the runtime or the API refuses.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// attempt does something beside the worker that may fail, and tells the worker how it ended. After each failure in a row that is
// told later: whatever is tried again is tried less and less often.
func (w *worker) attempt(ctx context.Context, action life.Action, do func() error, then func(error)) {
	key := string(action.Kind) + action.ID
	delay := life.Grow(w.failing[key], firstRetry, lastRetry)
	w.async(func() func() {
		err := do()
		if err != nil && ctx.Err() == nil {
			w.log.Warn("the pod cannot be brought forward", "action", action.Kind, "container", action.Name, "error", err, "again", delay)
			wait(ctx, delay)
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

func (w *worker) beginRemoval(ctx context.Context, action life.Action) {
	w.mem.Stopping[action.ID] = true
	w.attempt(ctx, action, func() error { return notFound(w.remove(ctx, action)) }, func(error) {
		delete(w.mem.Stopping, action.ID)
		w.stale = true
	})
}

func (w *worker) remove(ctx context.Context, action life.Action) error {
	var err error
	switch action.Kind {
	case life.StopSandbox:
		_, err = w.a.engine.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: action.ID})
	case life.RemoveSandbox:
		_, err = w.a.engine.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: action.ID})
	default:
		_, err = w.a.engine.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: action.ID})
	}
	return err
}

// beginDelete reports the last status and then deletes the object, which the API has kept for the node to do so (rule D5).
func (w *worker) beginDelete(ctx context.Context, action life.Action) {
	if w.report.busy {
		return // its end wakes the worker again
	}
	w.mem.Deleting = true
	pod, status := w.pod, life.Status(w.view())
	w.attempt(ctx, action, func() error { return w.a.deletePod(ctx, pod, status) }, func(err error) {
		w.mem.Deleting = err == nil
		w.gone = w.gone || err == nil
	})
}

func (a *Agent) deletePod(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	if _, err := a.patchStatus(ctx, pod, status); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	zero := int64(0)
	err := a.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// forget removes the pod's files and ends the worker.
func (w *worker) forget(ctx context.Context) {
	dir := w.a.podDir(w.pod)
	err := errors.Join(w.a.unmountVolumes(dir), w.a.rt.RemovePodGroup(ctx, "pod"+string(w.uid)))
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		w.log.Warn("something of the pod remains", "error", err)
	}
	w.a.drop(w.uid)
	w.done = true
}

// current is the pod with the status as it is now, for what reads the pod's address.
func (w *worker) current() *corev1.Pod {
	pod := w.pod.DeepCopy()
	pod.Status = life.Status(w.view())
	return pod
}
