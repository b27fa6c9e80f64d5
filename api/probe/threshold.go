// Package probe says what a core/v1 Probe means, whoever makes it: its defaults, how many equal outcomes in a row change a
// state, and how the control plane asks a node's agent for a single one. It only computes; node/probe makes the connections.
package probe

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kind is what a probe of a container decides about.
type Kind string

// The kinds of probe, as upstream's messages name them.
const (
	Startup   Kind = "Startup"
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
)

// Outcome of one try.
type Outcome int

// The outcomes. Unknown means that the probe itself could not be carried out; it changes nothing (rule R12).
const (
	Success Outcome = iota
	Failure
	Unknown
)

// Counter turns single outcomes into a state: it flips after as many equal outcomes in a row as the thresholds say (rule R13).
type Counter struct {
	Good     bool // the state
	Decided  bool // false until the first decision of a startup probe
	last     Outcome
	inARow   int32
	up, down int32
}

// NewCounter starts from a state that is known already, from before the agent or the control plane was started (rule R25).
func NewCounter(p *corev1.Probe, good bool) *Counter {
	return &Counter{Good: good, Decided: true, up: max(p.SuccessThreshold, 1), down: max(p.FailureThreshold, 1)}
}

// CounterOf starts from the initial state of a container's probe (rule R14: readiness is bad, liveness is good, startup is
// undecided).
func CounterOf(kind Kind, p *corev1.Probe) *Counter {
	c := NewCounter(p, kind == Liveness)
	c.Decided = kind != Startup
	return c
}

// Add counts an outcome and tells whether the state has flipped, or has been decided for the first time.
func (c *Counter) Add(o Outcome) bool {
	if o == Unknown {
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
	if c.inARow < need || (c.Decided && good == c.Good) {
		return false
	}
	c.Good, c.Decided = good, true
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
