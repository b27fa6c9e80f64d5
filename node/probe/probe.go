// Package probe makes the startup, liveness and readiness probes of containers: the four ways to ask (HTTP, TCP, exec, gRPC), and
// one goroutine per probe. What a probe means is in api/probe.
package probe

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
)

// Answer is the outcome of one try with the text for its event. Refused tells that nothing listens on the port, Warning that the try
// succeeded and there is something to say about it all the same.
type Answer struct {
	Outcome probe.Outcome
	Text    string
	Refused bool
	Warning bool
}

// Check asks a container once, within the context's deadline.
type Check func(ctx context.Context) Answer

// Runner is one probe of one running container.
type Runner struct {
	Kind    probe.Kind
	Spec    *corev1.Probe
	Check   Check
	Started time.Time // of the container: initialDelaySeconds counts from here
	Known   bool      // the state was good before the agent was restarted
	// Flipped is told every new state; text is the last answer. For a startup probe the first one is the last.
	Flipped func(good bool, text string)
	// Answered is told every try that counts, also what failed or could not be carried out.
	Answered func(a Answer)
}

// firstRetry is the wait after a container's port was found closed for the first time.
const firstRetry = 10 * time.Millisecond

// Run probes until the context is done, or until a startup probe is decided. A container that has just started and does not
// listen yet (connection refused) is asked again soon, in growing steps up to the period; such tries are not counted.
func (r *Runner) Run(ctx context.Context) {
	delay, period, timeout := probe.Timing(r.Spec)
	counter := probe.CounterOf(r.Kind, r.Spec)
	if r.Known {
		counter = probe.NewCounter(r.Spec, true)
	}
	timer := time.NewTimer(max(time.Until(r.Started.Add(delay)), 0))
	defer timer.Stop()
	eager, tick := firstRetry, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		try, cancel := context.WithTimeout(ctx, timeout)
		a := r.Check(try)
		cancel()
		if ctx.Err() != nil {
			return
		}
		counted := tick.IsZero() || !now.Before(tick)
		if counted {
			tick = now.Add(period)
		}
		if a.Refused && eager < period && !counter.Good {
			if counted && eager > firstRetry {
				r.count(counter, a)
			}
			timer.Reset(min(eager, time.Until(tick)))
			eager *= 2
			continue
		}
		eager = period
		if r.count(counter, a) && r.Kind == probe.Startup {
			return
		}
		tick = now.Add(period)
		timer.Reset(time.Until(tick))
	}
}

// count adds an answer to the counter, and reports both it and a change of state.
func (r *Runner) count(counter *probe.Counter, a Answer) bool {
	r.Answered(a)
	if !counter.Add(a.Outcome) {
		return false
	}
	r.Flipped(counter.Good, a.Text)
	return true
}
