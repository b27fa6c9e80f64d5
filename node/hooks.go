package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	apiprobe "fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/probe"
)

// runHook runs a lifecycle handler of a container.
func (a *Agent) runHook(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		output, code, err := a.runtime.RunInContainer(ctx, id, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", h.Exec.Command, code, strings.TrimSpace(output))
		}
		return nil
	case h.Sleep != nil:
		kube.Sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
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
