package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api/podrefs"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// podDir holds everything the node keeps of a pod on disk.
func (a *Agent) podDir(pod *corev1.Pod) string {
	return filepath.Join(a.podsDir(), fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

func (a *Agent) logDir(pod *corev1.Pod) string { return filepath.Join(a.podDir(pod), "logs") }

// slots bound how many things are done at once, so that many pods starting together do not starve each other.
type slots chan struct{}

// take waits for a slot. The second value is false when the context ended first.
func (s slots) take(ctx context.Context) (release func(), ok bool) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, true
	case <-ctx.Done():
		return nil, false
	}
}

// runSandbox prepares the pod's volumes and runs its sandbox. Sandboxes that have ended give back their addresses first.
func (a *Agent) runSandbox(ctx context.Context, pod *corev1.Pod, old []life.Sandbox, attempt uint32) error {
	for _, s := range old {
		_, err := a.engine.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.ID})
		if notFound(err) != nil {
			return err
		}
	}
	if err := os.MkdirAll(a.logDir(pod), 0o755); err != nil {
		return err
	}
	if err := a.setupVolumes(ctx, pod); err != nil {
		return err
	}
	release, ok := a.sandboxSlots.take(ctx)
	if !ok {
		return ctx.Err()
	}
	defer release()
	begin := time.Now()
	_, err := a.engine.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: spec.Sandbox(pod, a.node(), attempt, a.logDir(pod))})
	a.log.Debug("sandbox", "pod", pod.Namespace+"/"+pod.Name, "took", time.Since(begin), "error", err)
	return err
}

// startError is a failure to start a container, with the reason its waiting state gets.
type startError struct {
	reason string
	err    error
}

func (e *startError) Error() string { return message(e.err) }

// message is an error as upstream prints it, without the wrapping of the gRPC library.
func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("rpc error: code = %s desc = %s", s.Code(), s.Message())
	}
	return err.Error()
}

// tellDNS records what of the name resolution did not fit (rule N56).
func (w *worker) tellDNS() {
	_, left := spec.PodResolver(w.pod, w.a.node())
	for _, text := range left {
		w.event(corev1.EventTypeWarning, "DNSConfigForming", text)
	}
}

func (w *worker) beginStart(ctx context.Context, action life.Action) {
	ctx = w.beginStarting(ctx)
	c, last := w.container(action.Name), w.seen.Newest(action.Name)
	sandbox := *w.seen.Ready()
	pod := w.current()
	pull := w.pulls[c.Image]
	w.async(func() func() {
		err := w.start(ctx, pod, c, sandbox, action.Attempt, pull)
		return func() {
			w.endStarting()
			if last != nil && err == nil {
				w.mem.Backoff[c.Name] = life.NextDelay(w.mem.Backoff[c.Name], last)
			}
			w.startResult(c, last, err)
		}
	})
}

// container finds a container of the pod by name.
func (w *worker) container(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// start brings up one container: image, environment, creation, start and postStart hook.
func (w *worker) start(ctx context.Context, pod *corev1.Pod, c *corev1.Container, sandbox life.Sandbox, attempt uint32, pull life.Trouble) error {
	a := w.a
	image, err := w.ensureImage(ctx, pod, c, pull)
	if err != nil {
		return err
	}
	config, err := a.containerConfig(ctx, pod, c, sandbox, image, attempt)
	if err != nil {
		return &startError{"CreateContainerConfigError", err}
	}
	release, ok := a.containerSlots.take(ctx)
	if !ok {
		return ctx.Err()
	}
	begin := time.Now()
	created, err := a.engine.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox.ID, Config: config, SandboxConfig: spec.Sandbox(pod, a.node(), sandbox.Attempt, a.logDir(pod)),
	})
	if err != nil {
		release()
		return &startError{reasonCreate, err}
	}
	id := created.ContainerId
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Created", "Container created")
	hook := c.Lifecycle != nil && c.Lifecycle.PostStart != nil
	if hook {
		w.mail.post(func() { w.mem.Hooked[id] = true })
	}
	_, err = a.engine.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
	release()
	w.log.Debug("container", "name", c.Name, "took", time.Since(begin), "error", err)
	if err != nil {
		return &startError{reasonRun, err}
	}
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Started", "Container started")
	if hook {
		return w.postStart(ctx, pod, c, id)
	}
	return nil
}

// postStart runs the hook; a container whose hook fails is ended (kubelet).
func (w *worker) postStart(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string) error {
	err := w.a.hook(ctx, pod, c, id, c.Lifecycle.PostStart)
	w.mail.post(func() {
		delete(w.mem.Hooked, id)
		if err != nil && ctx.Err() == nil {
			w.containerEvent(c.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			w.mem.Doomed[id] = life.Doom{Message: "FailedPostStartHook"}
		}
	})
	return nil
}

// startResult notes how a start ended.
func (w *worker) startResult(c *corev1.Container, last *life.Container, err error) {
	var failed *startError
	if err == nil {
		delete(w.mem.Trouble, c.Name)
		delete(w.pulls, c.Image)
		w.removeOld(c.Name)
		return
	}
	if !errors.As(err, &failed) {
		return // the pod is leaving, or the agent is stopping
	}
	now := time.Now()
	trouble := life.Trouble{Reason: failed.reason, Message: failed.Error()}
	switch failed.reason {
	case reasonPullFailed:
		delay := life.Grow(w.pulls[c.Image].Delay, life.FirstDelay, life.MaxDelay)
		w.pulls[c.Image] = life.Trouble{Delay: delay, Retry: now.Add(delay), Message: failed.Error()}
		trouble.Retry = now.Add(time.Second)
	case reasonPullBackOff:
		trouble.Retry = w.pulls[c.Image].Retry
	case reasonRun:
		// The container exists and has ended: the back-off of restarts applies.
		if last != nil {
			w.mem.Backoff[c.Name] = life.NextDelay(w.mem.Backoff[c.Name], last)
		}
		w.removeOld(c.Name)
		trouble.Retry = now
	case reasonCreate:
		trouble.Delay = life.Grow(w.mem.Trouble[c.Name].Delay, life.FirstDelay, life.MaxDelay)
		trouble.Retry = now.Add(trouble.Delay)
	default:
		trouble.Delay = life.Grow(w.mem.Trouble[c.Name].Delay, firstSetupDelay, lastSetupDelay)
		trouble.Retry = now.Add(trouble.Delay)
	}
	w.mem.Trouble[c.Name] = trouble
	w.containerEvent(c.Name, corev1.EventTypeWarning, "Failed", "Error: "+failed.eventText())
}

// eventText is the message behind "Error: " in the event; for images it is the reason.
func (e *startError) eventText() string {
	if e.reason == reasonPullFailed || e.reason == reasonPullBackOff || e.reason == reasonNeverPull {
		return e.reason
	}
	return message(e.err)
}

// removeOld removes all dead containers of a name but the last one, which `kubectl logs --previous` shows.
func (w *worker) removeOld(name string) {
	list := w.seen.Containers[name]
	if len(list) < 2 {
		return
	}
	old := list[1:]
	pod, dir := w.pod, w.a.podDir(w.pod)
	w.async(func() func() {
		for i := range old {
			// Beside the worker's context: a restart of the agent must not leave half of them.
			ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
			_, err := w.a.engine.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: old[i].ID})
			cancel()
			if notFound(err) == nil {
				removeLogs(filepath.Join(w.a.logDir(pod), spec.LogPath(name, old[i].Attempt)))
				os.Remove(messageFile(dir, name, old[i].Attempt))
			}
		}
		return func() { w.stale = true }
	})
}

func messageFile(podDir, container string, attempt uint32) string {
	return filepath.Join(podDir, "messages", container, fmt.Sprint(attempt))
}

// writeMessageFile makes the empty file for a container's last message.
func writeMessageFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whatever the umask says: the container's user writes it
}

// containerConfig gathers what the container's configuration needs from API, image and disk.
func (a *Agent) containerConfig(ctx context.Context, pod *corev1.Pod, c *corev1.Container, sandbox life.Sandbox, image *runtimeapi.Image, attempt uint32) (*runtimeapi.ContainerConfig, error) {
	node := a.node()
	material, err := a.material(ctx, pod, c)
	if err != nil {
		return nil, err
	}
	env, err := spec.Env(pod, c, node, material)
	if err != nil {
		return nil, err
	}
	message := messageFile(a.podDir(pod), c.Name, attempt)
	if err := writeMessageFile(message); err != nil {
		return nil, err
	}
	mounts, err := a.mounts(pod, c, sandbox.IPs, env, message)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(a.logDir(pod), c.Name), 0o755); err != nil {
		return nil, err
	}
	return spec.Container(pod, c, spec.Inputs{
		Attempt: attempt, ImageID: image.Id, User: spec.ImageUser(image), Env: env, Mounts: mounts, MessageFile: message, MemoryNode: node.Capacity[1],
	})
}

// material reads the Services, config maps and secrets a container's environment needs. Services are read at the very start of a
// container, so that every Service made before it is there (rule D8).
func (a *Agent) material(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (spec.Material, error) {
	m := spec.Material{ConfigMaps: map[string]*corev1.ConfigMap{}, Secrets: map[string]*corev1.Secret{}}
	kubernetes, err := a.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err == nil {
		m.Kubernetes = kubernetes
	} else if !apierrors.IsNotFound(err) {
		return m, err
	}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		// Version 0: from the API server's memory.
		list, err := a.client.CoreV1().Services(pod.Namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return m, err
		}
		for i := range list.Items {
			m.Services = append(m.Services, &list.Items[i])
		}
	}
	needs := podrefs.OfContainer(c)
	for name := range needs.ConfigMaps {
		got, err := a.client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			m.ConfigMaps[name] = got
		} else if !apierrors.IsNotFound(err) {
			return m, err
		}
	}
	for name := range needs.Secrets {
		got, err := a.client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			m.Secrets[name] = got
		} else if !apierrors.IsNotFound(err) {
			return m, err
		}
	}
	return m, nil
}

// Limits of a termination message (kubelet).
const (
	maxMessage      = 4096
	maxMessageLog   = 2048
	maxMessageLines = 80
)

// terminationMessage is what an ended container has left in its message file or, when its policy says so and it has failed, the
// end of its log.
func terminationMessage(s *runtimeapi.ContainerStatus) string {
	if text := tail(s.Annotations[spec.AnnotationMessagePath], maxMessage); text != "" {
		return text
	}
	policy := corev1.TerminationMessagePolicy(s.Annotations[spec.AnnotationMessagePolicy])
	if policy != corev1.TerminationMessageFallbackToLogsOnError || s.ExitCode == 0 || s.LogPath == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(logText(s.LogPath), "\n"), "\n")
	text := strings.Join(lines[max(0, len(lines)-maxMessageLines):], "\n")
	return text[max(0, len(text)-maxMessageLog):]
}

// tail reads the end of a file.
func tail(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return ""
	}
	return string(text)
}
