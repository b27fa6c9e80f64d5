package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	apiprobe "fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/metrics"
	"fairlead.dev/fairlead/node/probe"
	podspec "fairlead.dev/fairlead/node/spec"
)

// probeKey is one probe of one container.
type probeKey struct {
	id   string
	kind apiprobe.Kind
}

// probeResults are upstream's words for outcomes, in its metrics.
var probeResults = map[apiprobe.Outcome]string{
	apiprobe.Success: metrics.ProbeSuccessful, apiprobe.Failure: metrics.ProbeFailed, apiprobe.Unknown: metrics.ProbeUnknown,
}

// syncProbes starts the probes that should run now and ends the others.
func (w *worker) syncProbes(ctx context.Context) {
	want := map[probeKey]*corev1.Probe{}
	for _, list := range [][]corev1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			w.wantedProbes(&list[i], want)
		}
	}
	for key, stop := range w.probes {
		if want[key] == nil {
			stop()
			delete(w.probes, key)
		}
	}
	for _, list := range [][]corev1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			c := w.seen.Newest(list[i].Name)
			if c == nil {
				continue
			}
			for _, kind := range []apiprobe.Kind{apiprobe.Startup, apiprobe.Liveness, apiprobe.Readiness} {
				key := probeKey{c.ID, kind}
				if want[key] != nil && w.probes[key] == nil {
					w.startProbe(ctx, key, want[key], &list[i], c)
				}
			}
		}
	}
}

// wantedProbes: while the startup probe has not succeeded nothing else is asked (rule R17); a pod that is ending is asked for
// its readiness only (rule R21); a container that is to be replaced is not asked whether it lives (rule R19).
func (w *worker) wantedProbes(spec *corev1.Container, want map[probeKey]*corev1.Probe) {
	c := w.seen.Newest(spec.Name)
	if c == nil || c.State != life.Running || w.gone {
		return
	}
	_, restarting := w.mem.PendingRestart[c.ID]
	ending := restarting || w.terminating() || w.mem.Rejected != nil
	if spec.StartupProbe != nil && !w.mem.Started[c.ID] {
		if !ending {
			want[probeKey{c.ID, apiprobe.Startup}] = spec.StartupProbe
		}
		return
	}
	if spec.LivenessProbe != nil && !ending {
		want[probeKey{c.ID, apiprobe.Liveness}] = spec.LivenessProbe
	}
	if spec.ReadinessProbe != nil {
		want[probeKey{c.ID, apiprobe.Readiness}] = spec.ReadinessProbe
	}
}

// startProbe runs a probe in a goroutine of its own until syncProbes or the end of the worker stops it.
func (w *worker) startProbe(ctx context.Context, key probeKey, p *corev1.Probe, spec *corev1.Container, c *life.Container) {
	ctx, stop := context.WithCancel(ctx)
	w.probes[key] = stop
	_, _, timeout := apiprobe.Timing(p)
	target := probe.Target{IP: w.podIP(), Ports: spec.Ports, Exec: func(ctx context.Context, command []string, timeout time.Duration) (string, int32, error) {
		return w.a.runtime.RunInContainer(ctx, key.id, command, timeout)
	}}
	handler := p.ProbeHandler
	if handler.Exec != nil {
		handler.Exec = &corev1.ExecAction{Command: podspec.ExpandStatic(handler.Exec.Command, spec.Env)}
	}
	check, err := probe.New(&handler, target, timeout)
	if err != nil {
		w.containerEvent(spec.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in unknown state: %v", key.kind, err))
		return
	}
	runner := &probe.Runner{
		Kind: key.kind, Spec: p, Check: check, Started: c.Started,
		Known:   key.kind == apiprobe.Readiness && w.mem.Ready[c.ID],
		Flipped: func(good bool, _ string) { w.mail.post(func() { w.probeResult(key, p, spec, good) }) },
		Answered: func(a probe.Answer) {
			w.a.metrics.Probe(string(key.kind), probeResults[a.Outcome], spec.Name, w.first)
			switch {
			case a.Warning:
				w.containerEvent(spec.Name, corev1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", key.kind, a.Text))
				return
			case a.Outcome == apiprobe.Success:
				return
			}
			text := fmt.Sprintf("%s probe failed: %s", key.kind, a.Text)
			if a.Outcome == apiprobe.Unknown {
				text = fmt.Sprintf("%s probe errored and resulted in unknown state: %s", key.kind, a.Text)
			}
			w.containerEvent(spec.Name, corev1.EventTypeWarning, "Unhealthy", text)
		},
	}
	w.probing.Go(func() { runner.Run(ctx) })
}

func (w *worker) podIP() string {
	if s := w.seen.Ready(); s != nil && len(s.IPs) > 0 && !w.pod.Spec.HostNetwork {
		return s.IPs[0]
	}
	return w.a.cfg.IPs[0].String()
}

// probeResult takes in a new state of a probe.
func (w *worker) probeResult(key probeKey, p *corev1.Probe, spec *corev1.Container, good bool) {
	if w.probes[key] == nil {
		return // it was stopped in the meantime
	}
	switch {
	case key.kind == apiprobe.Readiness:
		w.mem.Ready[key.id] = good
	case good:
		w.mem.Started[key.id] = key.kind == apiprobe.Startup || w.mem.Started[key.id]
	default:
		what := "liveness"
		if key.kind == apiprobe.Startup {
			what = "startup"
		}
		w.mem.PendingRestart[key.id] = life.Restart{
			Message: w.probeMessage(spec, what),
			Grace:   p.TerminationGracePeriodSeconds,
		}
	}
}

// probeMessage says that a container is ended because of a probe, in upstream's words.
func (w *worker) probeMessage(spec *corev1.Container, what string) string {
	switch {
	case containerType(w.pod, spec.Name) == metrics.InitContainer:
		return fmt.Sprintf("Init container %s failed %s probe", spec.Name, what)
	case !life.MayRestart(w.pod, spec):
		return fmt.Sprintf("Container %s failed %s probe", spec.Name, what)
	}
	return fmt.Sprintf("Container %s failed %s probe, will be restarted", spec.Name, what)
}
