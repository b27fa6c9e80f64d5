package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
	"fairlead.dev/fairlead/node/volume"
)

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

func (w *worker) beginSandbox(ctx context.Context, action life.Action) {
	ctx = w.beginStarting(ctx)
	pod, old := life.Given(w.pod, w.mem.Given).DeepCopy(), w.seen.Sandboxes
	w.async(func() func() {
		w.a.metrics.StartedPods.Inc()
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
	var mount *volume.MountError
	switch {
	case err == nil:
		w.mem.Setup = life.Failure{}
		w.recordDNSLimits()
		return
	case ctx.Err() != nil && w.terminating():
		return
	case errors.As(err, &mount):
		w.event(corev1.EventTypeWarning, "FailedMount", mount.Error())
	default:
		w.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+kuberuntime.Message(err))
	}
	w.a.metrics.StartedPodErrors.Inc()
	delay := life.Grow(w.mem.Setup.Delay, firstSetupDelay, lastSetupDelay)
	w.mem.Setup = life.Failure{Delay: delay, Retry: time.Now().Add(delay)}
	w.log.Warn("the sandbox cannot be set up", "err", err)
}

// runSandbox prepares the pod's volumes and runs its sandbox. Sandboxes that have ended give back their addresses first.
func (a *Agent) runSandbox(ctx context.Context, pod *corev1.Pod, old []life.Sandbox, attempt uint32) error {
	for _, s := range old {
		_, err := a.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.ID})
		if kuberuntime.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if err := os.MkdirAll(a.logDir(pod), 0o755); err != nil {
		return err
	}
	if err := a.volumes.SetUp(ctx, pod); err != nil {
		return err
	}
	if limits := spec.PodResources(pod); limits != nil {
		if err := a.containerd.SetPodGroup(filepath.Base(spec.PodCgroup(pod, a.cfg.CgroupRoot)), limits); err != nil {
			return err
		}
	}
	handler, err := a.handler(ctx, pod)
	if err != nil {
		return err
	}
	release, ok := a.sandboxSlots.take(ctx)
	if !ok {
		return ctx.Err()
	}
	defer release()
	begin := time.Now()
	_, err = a.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: spec.Sandbox(pod, a.node(), attempt, a.logDir(pod)), RuntimeHandler: handler})
	a.log.Debug("sandbox", "pod", pod.Namespace+"/"+pod.Name, "took", time.Since(begin), "err", err)
	return err
}

// handler is what the pod's runtime class says that its containers run by, "" without one. The runtime refuses what it does not have.
func (a *Agent) handler(ctx context.Context, pod *corev1.Pod) (string, error) {
	name := ptr.Deref(pod.Spec.RuntimeClassName, "")
	if name == "" {
		return "", nil
	}
	class, err := a.client.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to get RuntimeClass %s: %w", name, err)
	}
	return class.Handler, nil
}

// recordDNSLimits records what of the name resolution did not fit (rule N56).
func (w *worker) recordDNSLimits() {
	_, left := spec.PodResolver(w.pod, w.a.node())
	for _, text := range left {
		w.event(corev1.EventTypeWarning, "DNSConfigForming", text)
	}
}
