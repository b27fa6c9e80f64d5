package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/probe"
)

// hookTimeout bounds the request of a hook whose answer does not come: upstream's waits for ever.
const hookTimeout = time.Minute

// runHook runs a lifecycle handler of a container.
func (w *worker) runHook(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		output, code, err := w.a.runtime.RunInContainer(ctx, id, h.Exec.Command, 0)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command %q exited with %d: %s", h.Exec.Command, code, strings.TrimSpace(output))
		}
		return nil
	case h.Sleep != nil:
		kube.Sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
		if ctx.Err() != nil {
			return errors.New("container terminated before sleep hook finished")
		}
		return nil
	case h.HTTPGet != nil:
		limited, cancel := context.WithTimeout(ctx, hookTimeout)
		defer cancel()
		target := probe.Target{IP: pod.Status.PodIP, Ports: c.Ports}
		plain, err := probe.Hook(limited, h.HTTPGet, target)
		if plain {
			w.event(corev1.EventTypeWarning, "LifecycleHTTPFallback",
				fmt.Sprintf("request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", target.HostPort(h.HTTPGet)))
		}
		return err
	}
	// TCP is accepted by the API for compatibility, and fails (its documentation).
	return errors.New("invalid handler: neither exec nor httpGet nor sleep")
}
