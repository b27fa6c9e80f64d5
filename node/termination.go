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

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

func (w *worker) beginKill(ctx context.Context, action life.Action) {
	if _, again := w.mem.Killing[action.ID]; !again {
		w.containerEvent(action.Name, corev1.EventTypeNormal, "Killing", action.Message)
	}
	w.mem.Killing[action.ID] = action.Grace
	if action.Replace {
		w.mem.Replaced[action.ID] = true
	}
	pod := w.current()
	w.attempt(ctx, action, func() error { return w.kill(ctx, pod, action) }, func(error) {
		if w.mem.Killing[action.ID] == action.Grace {
			delete(w.mem.Killing, action.ID)
		}
		w.stale = true
	})
}

// minStop is the least time a container gets after its preStop hook has used up the grace (kubelet).
const minStop = 2 * time.Second

// mostRouted is the longest that a pod goes on serving because of connections that may still be sent to it; and behind is how much
// later others may know what this node knows.
const (
	mostRouted = 2 * time.Second
	behind     = 300 * time.Millisecond
)

// awaitWithdrawn has a pod that is being deleted serve until no new connection is sent to it, within its grace: programs that stop
// listening at SIGTERM would refuse those that come meanwhile. The deletion that begins this also takes the pod out of its Services.
func (w *worker) awaitWithdrawn(ctx context.Context, pod *corev1.Pod, grace time.Duration) {
	if w.a.cfg.Routed == nil || pod.DeletionTimestamp == nil {
		return
	}
	still := w.a.cfg.Routed(pod)
	if still == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(mostRouted, grace/2))
	defer cancel()
	for wait := 5 * time.Millisecond; still() && pause(ctx, wait); wait = min(2*wait, 50*time.Millisecond) {
	}
	pause(ctx, behind)
}

// pause returns whether it took its time.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// kill ends a container: its preStop hook, then SIGTERM, and SIGKILL when the grace is over (rule D5).
func (w *worker) kill(ctx context.Context, pod *corev1.Pod, action life.Action) error {
	left := action.Grace
	if c := spec.FindContainer(pod, action.Name); c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && left > 0 {
		begin := time.Now()
		limited, cancel := context.WithTimeout(ctx, left)
		err := w.runHook(limited, pod, c, action.ID, c.Lifecycle.PreStop)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.containerEvent(c.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			w.log.Warn("preStop hook failed", "container", c.Name, "err", err)
		}
		left = max(left-time.Since(begin), minStop)
	}
	begin := time.Now()
	w.awaitWithdrawn(ctx, pod, left)
	left -= time.Since(begin)
	seconds := int64((left + time.Second - 1) / time.Second)
	_, err := w.a.runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: action.ID, Timeout: seconds})
	return kuberuntime.IgnoreNotFound(err)
}

func (w *worker) beginRemoval(ctx context.Context, action life.Action) {
	w.mem.Stopping[action.ID] = true
	w.attempt(ctx, action, func() error { return kuberuntime.IgnoreNotFound(w.remove(ctx, action)) }, func(error) {
		delete(w.mem.Stopping, action.ID)
		w.stale = true
	})
}

func (w *worker) remove(ctx context.Context, action life.Action) error {
	var err error
	switch action.Kind {
	case life.StopSandbox:
		_, err = w.a.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: action.ID})
	case life.RemoveSandbox:
		_, err = w.a.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: action.ID})
	default:
		_, err = w.a.runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: action.ID})
	}
	return err
}

// beginDelete reports the last status and then deletes the object, which the API has kept for the node to do so (rule D5).
func (w *worker) beginDelete(ctx context.Context, action life.Action) {
	if w.status.busy {
		return // its end wakes the worker again
	}
	w.mem.Deleting = true
	w.a.admitted.release(w.uid) // before another pod can come in its place
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

// cleanup removes the pod's files and ends the worker.
func (w *worker) cleanup(ctx context.Context) {
	dir := spec.PodDir(w.a.podsDir(), w.pod)
	err := errors.Join(w.a.volumes.TearDown(w.pod), w.a.containerd.RemovePodGroup(ctx, "pod"+string(w.uid)))
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		w.log.Warn("something of the pod remains", "err", err)
	}
	w.a.removeWorker(w.uid)
	w.done = true
}
