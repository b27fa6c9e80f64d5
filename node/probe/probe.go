// Package probe runs the startup, liveness and readiness probes of containers: pure counting of results, the four ways to ask
// (HTTP, TCP, exec, gRPC), and one goroutine per probe.
package probe

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kind is what a probe decides about.
type Kind string

// The kinds of probe, as upstream's messages name them.
const (
	Startup   Kind = "Startup"
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
)

// Outcome of one try.
type Outcome int

// The outcomes. Broken means that the probe itself could not be carried out; it changes nothing (rule R12).
const (
	Success Outcome = iota
	Failure
	Broken
)

// Answer is the outcome of one try with the text for its event. Refused tells that nothing listens on the port.
type Answer struct {
	Outcome Outcome
	Text    string
	Refused bool
}

// Check asks a container once, within the context's deadline.
type Check func(ctx context.Context) Answer

// Counter turns single outcomes into a state: it flips after as many equal outcomes in a row as the thresholds say (rule R13).
type Counter struct {
	Good     bool // the state
	known    bool // at least one decision has been made
	last     Outcome
	inARow   int32
	up, down int32
}

// NewCounter starts from the initial state of the kind (rule R14: readiness is bad, liveness is good, startup is undecided) or,
// when known is set, from a state that was established before the agent was restarted (rule R25).
func NewCounter(kind Kind, p *corev1.Probe, known bool) *Counter {
	c := &Counter{Good: kind == Liveness, known: kind != Startup, up: max(p.SuccessThreshold, 1), down: max(p.FailureThreshold, 1)}
	if known {
		c.Good, c.known = true, true
	}
	return c
}

// Add counts an outcome and tells whether the state has flipped, or has been decided for the first time.
func (c *Counter) Add(o Outcome) bool {
	if o == Broken {
		return false
	}
	if o != c.last || c.inARow == 0 {
		c.last, c.inARow = o, 0
	}
	c.inARow++
	good := o == Success
	need := c.down
	if good {
		need = c.up
	}
	if c.inARow < need || (c.known && good == c.Good) {
		return false
	}
	c.Good, c.known = good, true
	return true
}

// Timing of a probe with the defaults applied (rule R1).
func Timing(p *corev1.Probe) (delay, period, timeout time.Duration) {
	seconds := func(n, fallback int32) time.Duration {
		if n <= 0 {
			n = fallback
		}
		return time.Duration(n) * time.Second
	}
	return seconds(p.InitialDelaySeconds, 0), seconds(p.PeriodSeconds, 10), seconds(p.TimeoutSeconds, 1)
}

// Runner is one probe of one running container.
type Runner struct {
	Kind    Kind
	Spec    *corev1.Probe
	Check   Check
	Started time.Time // of the container: initialDelaySeconds counts from here
	Known   bool      // the state was good before the agent was restarted
	// Flipped is told every new state; text is the last answer. For a startup probe the first one is the last.
	Flipped func(good bool, text string)
	// Failed is told every failed or broken try, for its event.
	Failed func(a Answer)
}

// firstRetry is the wait after a container's port was found closed for the first time.
const firstRetry = 10 * time.Millisecond

// Run probes until the context is done, or until a startup probe is decided. A container that has just started and does not
// listen yet (connection refused) is asked again soon, in growing steps up to the period; such tries are not counted.
func (r *Runner) Run(ctx context.Context) {
	delay, period, timeout := Timing(r.Spec)
	counter := NewCounter(r.Kind, r.Spec, r.Known)
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
		if r.count(counter, a) && r.Kind == Startup {
			return
		}
		tick = now.Add(period)
		timer.Reset(time.Until(tick))
	}
}

// count adds an answer to the counter, and reports a failure and a change of state.
func (r *Runner) count(counter *Counter, a Answer) bool {
	if a.Outcome != Success {
		r.Failed(a)
	}
	if !counter.Add(a.Outcome) {
		return false
	}
	r.Flipped(counter.Good, a.Text)
	return true
}
