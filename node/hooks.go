package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	apiprobe "fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/probe"
)

// minStop is the least time a container gets after its preStop hook has used up the grace (kubelet).
const minStop = 2 * time.Second

// kill ends a container: its preStop hook, then SIGTERM, and SIGKILL when the grace is over (rule D5).
func (w *worker) kill(ctx context.Context, pod *corev1.Pod, action life.Action) error {
	left := action.Grace
	if c := containerOf(pod, action.Name); c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && left > 0 {
		begin := time.Now()
		limited, cancel := context.WithTimeout(ctx, left)
		err := w.a.hook(limited, pod, c, action.ID, c.Lifecycle.PreStop)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.containerEvent(c.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			w.log.Warn("preStop hook failed", "container", c.Name, "error", err)
		}
		left = max(left-time.Since(begin), minStop)
	}
	seconds := int64((left + time.Second - 1) / time.Second)
	_, err := w.a.engine.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: action.ID, Timeout: seconds})
	return notFound(err)
}

func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// hook runs a lifecycle handler of a container.
func (a *Agent) hook(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		output, code, err := a.engine.execSync(ctx, id, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", h.Exec.Command, code, strings.TrimSpace(output))
		}
		return nil
	case h.Sleep != nil:
		wait(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
		return nil
	case h.HTTPGet != nil:
		check, err := probe.HTTP(h.HTTPGet, probe.Target{IP: pod.Status.PodIP, Ports: c.Ports})
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if answer := check(limited); answer.Outcome != apiprobe.Success {
			return errors.New(answer.Text)
		}
		return nil
	case h.TCPSocket != nil:
		return nil // accepted by the API for compatibility, and never run (kubelet)
	}
	return errors.New("missing lifecycle handler")
}

// logText is the end of a CRI log file without its time stamps.
func logText(path string) string {
	var b strings.Builder
	for line := range strings.Lines(tail(path, 64<<10)) {
		if parts := strings.SplitN(line, " ", 4); len(parts) == 4 {
			io.WriteString(&b, parts[3])
		}
	}
	return b.String()
}
