package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/metrics"
	"fairlead.dev/fairlead/node/spec"
)

func (a *Agent) logDir(pod *corev1.Pod) string { return spec.LogDir(a.podsDir(), pod) }

// startError is a failure to start a container, with the reason its waiting state gets.
type startError struct {
	reason string
	err    error
}

func (e *startError) Error() string { return kuberuntime.Message(e.err) }

func (w *worker) beginStart(ctx context.Context, action life.Action) {
	ctx = w.beginStarting(ctx)
	pod := w.current()
	c, last := spec.FindContainer(pod, action.Name), w.seen.Newest(action.Name)
	sandbox := *w.seen.Ready()
	pull := w.pulls[c.Image]
	target, missing := w.target(c.Name)
	w.async(func() func() {
		kind := containerType(pod, c.Name)
		w.a.metrics.StartedContainers.WithLabelValues(kind).Inc()
		var err error = &startError{life.CreateContainerConfigError, missing}
		if missing == nil {
			err = w.start(ctx, pod, c, sandbox, spec.Inputs{Attempt: action.Attempt, Target: target}, pull)
		}
		if failed := (*startError)(nil); errors.As(err, &failed) {
			w.a.metrics.StartedContainerErrors.WithLabelValues(kind, failed.reason).Inc()
		}
		return func() {
			w.endStarting()
			if last != nil && err == nil {
				w.holdBack(c, last)
			}
			w.startResult(c, last, err)
		}
	})
}

// mostAdmitted bounds how long one try to start a container waits for the pod's network policies.
const mostAdmitted = 20 * time.Second

// admit waits until the pod's network policies are in force.
func (a *Agent) admit(ctx context.Context, pod *corev1.Pod, sandbox life.Sandbox) error {
	if a.cfg.Admit == nil {
		return nil
	}
	var addrs []netip.Addr
	for _, ip := range sandbox.IPs {
		if addr, ok := api.ParseAddr(ip); ok {
			addrs = append(addrs, addr)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, mostAdmitted)
	defer cancel()
	return a.cfg.Admit(ctx, pod, addrs)
}

// containerType is upstream's word for what kind of container it is, in its metrics.
func containerType(pod *corev1.Pod, name string) string {
	if slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name }) {
		return metrics.InitContainer
	}
	if slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == name }) {
		return metrics.EphemeralContainer
	}
	return metrics.Container
}

// target is the id of the container whose processes a container is to see, or "": of its own only.
func (w *worker) target(name string) (string, error) {
	for i := range w.pod.Spec.EphemeralContainers {
		e := &w.pod.Spec.EphemeralContainers[i]
		if e.Name != name || e.TargetContainerName == "" {
			continue
		}
		if c := w.seen.Newest(e.TargetContainerName); c != nil && c.State == life.Running {
			return c.ID, nil
		}
		return "", fmt.Errorf("unable to find target container %q", e.TargetContainerName)
	}
	return "", nil
}

// start brings up one container: image, environment, creation, start and postStart hook.
func (w *worker) start(ctx context.Context, pod *corev1.Pod, c *corev1.Container, sandbox life.Sandbox, in spec.Inputs, pull life.Failure) error {
	a := w.a
	image, err := w.ensureImage(ctx, pod, c, pull)
	if err != nil {
		return err
	}
	in.ImageID, in.User = image.Id, spec.ImageUser(image)
	if err := a.admit(ctx, pod, sandbox); err != nil {
		return &startError{life.CreateContainerError, err}
	}
	config, err := a.containerConfig(ctx, pod, c, sandbox, in)
	if err != nil {
		return &startError{life.CreateContainerConfigError, err}
	}
	release, ok := a.containerSlots.take(ctx)
	if !ok {
		return ctx.Err()
	}
	begin := time.Now()
	created, err := a.runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox.ID, Config: config, SandboxConfig: spec.Sandbox(pod, a.node(), sandbox.Attempt, a.logDir(pod)),
	})
	if err != nil {
		release()
		return &startError{life.CreateContainerError, err}
	}
	id := created.ContainerId
	w.mail.post(func() { w.mem.Applied[id] = c.Resources })
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Created", "Container created")
	hook := c.Lifecycle != nil && c.Lifecycle.PostStart != nil
	if hook {
		w.mail.post(func() { w.mem.PostStart[id] = true })
	}
	_, err = a.runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
	release()
	w.log.Debug("container", "name", c.Name, "took", time.Since(begin), "err", err)
	if err != nil {
		return &startError{life.RunContainerError, err}
	}
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Started", "Container started")
	if hook {
		return w.postStart(ctx, pod, c, id)
	}
	return nil
}

// postStart runs the hook; a container whose hook fails is ended (kubelet).
func (w *worker) postStart(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string) error {
	err := w.runHook(ctx, pod, c, id, c.Lifecycle.PostStart)
	w.mail.post(func() {
		delete(w.mem.PostStart, id)
		if err != nil && ctx.Err() == nil {
			w.containerEvent(c.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			w.mem.PendingRestart[id] = life.Restart{Message: "FailedPostStartHook"}
		}
	})
	return nil
}

// startResult notes how a start ended.
func (w *worker) startResult(c *corev1.Container, last *life.Container, err error) {
	var failed *startError
	if err == nil {
		delete(w.mem.Failures, c.Name)
		delete(w.pulls, c.Image)
		w.removeOld(c.Name)
		return
	}
	if !errors.As(err, &failed) {
		return // the pod is leaving, or the agent is stopping
	}
	now := time.Now()
	failure := life.Failure{Reason: failed.reason, Message: failed.Error(), Image: c.Image}
	switch failed.reason {
	case life.ErrImagePull:
		delay := life.Grow(w.pulls[c.Image].Delay, life.FirstDelay, life.MaxDelay)
		w.pulls[c.Image] = life.Failure{Delay: delay, Retry: now.Add(delay), Message: failed.Error()}
		failure.Retry = now.Add(time.Second)
	case life.ImagePullBackOff:
		failure.Retry = w.pulls[c.Image].Retry
	case life.RunContainerError:
		// The container exists and has ended: the back-off of restarts applies.
		if last != nil {
			w.holdBack(c, last)
		}
		w.removeOld(c.Name)
		failure.Retry = now
	case life.CreateContainerError:
		failure.Delay = life.Grow(w.mem.Failures[c.Name].Delay, life.FirstDelay, life.MaxDelay)
		failure.Retry = now.Add(failure.Delay)
	default:
		failure.Delay = life.Grow(w.mem.Failures[c.Name].Delay, firstSetupDelay, lastSetupDelay)
		failure.Retry = now.Add(failure.Delay)
	}
	w.mem.Failures[c.Name] = failure
	w.containerEvent(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+failed.eventText())
}

// holdBack notes how long the container has to wait after its next end, now that it was started after its last one. Another image begins
// without a past.
func (w *worker) holdBack(c *corev1.Container, last *life.Container) {
	if last.SpecImage != c.Image {
		delete(w.mem.Backoff, c.Name)
		return
	}
	w.mem.Backoff[c.Name] = life.NextDelay(w.mem.Backoff[c.Name], last)
}

// eventText is the message behind "Error: " in the event; for images it is the reason.
func (e *startError) eventText() string {
	if e.reason == life.ErrImagePull || e.reason == life.ImagePullBackOff || e.reason == life.ErrImageNeverPull || e.reason == life.InvalidImageName {
		return e.reason
	}
	return kuberuntime.Message(e.err)
}

// removeOld removes all dead containers of a name but the last one, which `kubectl logs --previous` shows.
func (w *worker) removeOld(name string) {
	list := w.seen.Containers[name]
	if len(list) < 2 {
		return
	}
	old := list[1:]
	pod := w.pod
	w.async(func() func() {
		for i := range old {
			// Beside the worker's context: a restart of the agent must not leave half of them.
			ctx, cancel := context.WithTimeout(context.Background(), kuberuntime.CallTimeout)
			_, err := w.a.runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: old[i].ID})
			cancel()
			if kuberuntime.IgnoreNotFound(err) == nil {
				removeLogs(filepath.Join(w.a.logDir(pod), spec.LogPath(name, old[i].Attempt)))
				os.Remove(spec.MessageFile(w.a.podsDir(), pod, name, old[i].Attempt))
			}
		}
		return func() { w.stale = true }
	})
}
