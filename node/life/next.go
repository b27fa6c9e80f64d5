package life

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// Kind names what an action does.
type Kind string

// The kinds of action.
const (
	RunSandbox    Kind = "run-sandbox"    // stop what is left of older sandboxes, then run one with number Attempt
	StopSandbox   Kind = "stop-sandbox"   // end the sandbox ID, its network and its containers
	RemoveSandbox Kind = "remove-sandbox" // remove the stopped sandbox ID with its containers
	Start         Kind = "start"          // create and start container Name with number Attempt in the present sandbox
	Kill          Kind = "kill"           // end container ID within Grace, its preStop hook first
	Resize        Kind = "resize"         // have the runtime take over what the pod has been given
	Remove        Kind = "remove"         // remove the dead container ID
	Delete        Kind = "delete"         // report the last status, then delete the API object
	Cleanup       Kind = "cleanup"        // nothing is left: remove the pod's files
)

// Action is one thing to do now. Fields that a kind does not need are empty.
type Action struct {
	Kind     Kind
	Name, ID string
	Attempt  uint32
	Grace    time.Duration
	Message  string // of the Killing event
	Replace  bool   // the container is killed to be started for another image, or with other resources
}

// Plan is what to do now, and when to look again even if nothing is heard (zero: not needed).
type Plan struct {
	Actions []Action
	Wake    time.Time
}

func (p *Plan) do(a Action) { p.Actions = append(p.Actions, a) }

func (p *Plan) wakeAt(t time.Time) {
	if p.Wake.IsZero() || t.Before(p.Wake) {
		p.Wake = t
	}
}

// Next decides what to do for a pod.
func Next(v View) Plan {
	p := &Plan{}
	switch {
	case v.terminating():
		v.terminate(p)
	case v.finished():
		v.killAll(p, v.grace())
	default:
		v.run(p)
	}
	return *p
}

// grace is the time the pod's containers have to end by themselves.
func (v View) grace() time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if v.Pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *v.Pod.Spec.TerminationGracePeriodSeconds
	}
	if v.Pod.DeletionTimestamp != nil && v.Pod.DeletionGracePeriodSeconds != nil {
		seconds = *v.Pod.DeletionGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// terminate ends a pod that is being deleted (rule D5): containers, then sandbox and API object at the same time, then what the
// runtime still records.
func (v View) terminate(p *Plan) {
	if v.killAll(p, v.grace()) || v.Mem.Starting {
		return
	}
	if !v.Gone {
		if !v.Mem.Deleting {
			p.do(Action{Kind: Delete})
		}
		return
	}
	for _, s := range v.Seen.Sandboxes {
		if !s.Ready && !v.Mem.Stopping[s.ID] {
			p.do(Action{Kind: RemoveSandbox, ID: s.ID})
		}
	}
	if len(v.Seen.Sandboxes) == 0 && !v.removeOrphans(p) {
		p.do(Action{Kind: Cleanup})
	}
}

// removeOrphans removes containers whose sandbox is gone, and tells whether there are any.
func (v View) removeOrphans(p *Plan) bool {
	found := false
	for _, list := range v.Seen.Containers {
		for i := range list {
			found = true
			if !v.Mem.Stopping[list[i].ID] {
				p.do(Action{Kind: Remove, ID: list[i].ID})
			}
		}
	}
	return found
}

// killAll kills the main containers all at once, then the sidecars in reverse order, then stops the sandbox. It tells whether a
// container is still alive.
func (v View) killAll(p *Plan, grace time.Duration) bool {
	waiting := false
	for name, list := range v.Seen.Containers {
		if v.isSidecar(name) {
			continue
		}
		for i := range list {
			if alive(&list[i]) {
				waiting = true
				v.kill(p, &list[i], grace, "")
			}
		}
	}
	for i := len(v.Pod.Spec.InitContainers) - 1; i >= 0 && !waiting; i-- {
		if c := v.Seen.Newest(v.Pod.Spec.InitContainers[i].Name); alive(c) {
			waiting = true
			v.kill(p, c, v.sidecarGrace(c, grace), "")
		}
	}
	if waiting || v.Mem.Starting {
		return waiting
	}
	for _, s := range v.Seen.Sandboxes {
		if s.Ready && !v.Mem.Stopping[s.ID] {
			p.do(Action{Kind: StopSandbox, ID: s.ID})
		}
	}
	return false
}

// minGrace is what a sidecar gets at least when the main containers have used up the pod's grace (kubelet).
const minGrace = 2 * time.Second

// sidecarGrace is what is left of the pod's grace for a sidecar whose turn to end has come. One that is ending already keeps what it got.
func (v View) sidecarGrace(c *Container, grace time.Duration) time.Duration {
	if _, killing := v.Mem.Killing[c.ID]; killing || v.Pod.DeletionTimestamp == nil {
		return grace
	}
	left := v.Pod.DeletionTimestamp.Sub(v.Now)
	return min(max(left, minGrace), grace)
}

func (v View) isSidecar(name string) bool {
	for i := range v.Pod.Spec.InitContainers {
		if c := &v.Pod.Spec.InitContainers[i]; c.Name == name && api.Sidecar(c) {
			return true
		}
	}
	return false
}

// kill ends a container, unless that is under way already with no more grace than this: a second deletion may shorten the
// grace, never lengthen it (rule D6).
func (v View) kill(p *Plan, c *Container, grace time.Duration, message string) {
	if given, killing := v.Mem.Killing[c.ID]; killing && given <= grace {
		return
	}
	if message == "" {
		message = "Stopping container " + c.Name
	}
	p.do(Action{Kind: Kill, ID: c.ID, Name: c.Name, Grace: grace, Message: message})
}

// run brings a living pod forward: sandbox, init containers one after the other, then the main containers.
func (v View) run(p *Plan) {
	sandbox := v.Seen.Ready()
	if sandbox == nil {
		v.runSandbox(p)
		return
	}
	if v.beginsAnew(p) {
		return
	}
	v.killForRestart(p)
	v.resize(p)
	v.startEphemeral(p)
	if !v.mainStarted() {
		for i := range v.Pod.Spec.InitContainers {
			spec := &v.Pod.Spec.InitContainers[i]
			if v.initDone(spec) {
				continue
			}
			v.startIfDue(p, spec, true)
			v.keepSidecars(p, i)
			return
		}
	}
	v.keepSidecars(p, len(v.Pod.Spec.InitContainers))
	for i := range v.Pod.Spec.Containers {
		v.startIfDue(p, &v.Pod.Spec.Containers[i], false)
	}
}

// runSandbox makes a new sandbox when the pod has none that is ready; what still runs outside of one is ended first (rule R42).
func (v View) runSandbox(p *Plan) {
	if v.killAll(p, v.grace()) || v.Mem.Starting {
		return
	}
	if v.Now.Before(v.Mem.Setup.Retry) {
		p.wakeAt(v.Mem.Setup.Retry)
		return
	}
	attempt := uint32(0)
	if len(v.Seen.Sandboxes) > 0 {
		attempt = v.Seen.Sandboxes[0].Attempt + 1
	}
	p.do(Action{Kind: RunSandbox, Attempt: attempt})
}

// keepSidecars restarts those of the first n init containers that are sidecars and have ended.
func (v View) keepSidecars(p *Plan, n int) {
	for i := range v.Pod.Spec.InitContainers[:n] {
		if spec := &v.Pod.Spec.InitContainers[i]; api.Sidecar(spec) {
			v.startIfDue(p, spec, true)
		}
	}
}

// killForRestart kills running containers that failed a probe or whose image was changed in the spec.
func (v View) killForRestart(p *Plan) {
	v.eachSpec(func(spec *corev1.Container, _ bool) {
		c := v.Seen.Newest(spec.Name)
		if !alive(c) {
			return
		}
		if c.State == Unknown {
			v.kill(p, c, v.grace(), "")
		} else if restart, ok := v.Mem.PendingRestart[c.ID]; ok {
			grace := v.grace()
			if restart.Grace != nil {
				grace = time.Duration(*restart.Grace) * time.Second
			}
			v.kill(p, c, grace, restart.Message)
		} else if v.changed(spec, c) {
			v.replace(p, c, fmt.Sprintf("Container %s definition changed, will be restarted", spec.Name))
		}
	})
}

// replace kills a running container that is to be started again whatever the policy says.
func (v View) replace(p *Plan, c *Container, message string) {
	before := len(p.Actions)
	v.kill(p, c, v.grace(), message)
	for i := range p.Actions[before:] {
		p.Actions[before+i].Replace = true
	}
}

func (v View) eachSpec(f func(spec *corev1.Container, init bool)) {
	for i := range v.Pod.Spec.InitContainers {
		f(&v.Pod.Spec.InitContainers[i], true)
	}
	for i := range v.Pod.Spec.Containers {
		f(&v.Pod.Spec.Containers[i], false)
	}
}

// startIfDue starts a container that is not running, when policy, back-off and earlier failures allow. One start at a time.
func (v View) startIfDue(p *Plan, spec *corev1.Container, init bool) {
	last := v.Seen.Newest(spec.Name)
	if alive(last) || v.Mem.Starting || starts(p) {
		return
	}
	if last != nil && last.State == Created { // its start was interrupted, for example by the end of the agent
		if !v.Mem.Stopping[last.ID] {
			p.do(Action{Kind: Remove, ID: last.ID})
		}
		return
	}
	attempt := uint32(0)
	if last != nil {
		again := v.restarts(spec, init, last) || (init && !v.inSandbox(last))
		if !again {
			return
		}
		if due := v.due(spec, last); v.Now.Before(due) {
			p.wakeAt(due)
			return
		}
		attempt = last.Attempt + 1
	}
	if failure := v.Mem.Failures[spec.Name]; failure.Image == spec.Image && v.Now.Before(failure.Retry) {
		p.wakeAt(failure.Retry)
		return
	}
	p.do(Action{Kind: Start, Name: spec.Name, Attempt: attempt})
}

func starts(p *Plan) bool {
	for _, a := range p.Actions {
		if a.Kind == Start {
			return true
		}
	}
	return false
}

// due is when an ended container may start again. One of another image has done nothing yet to be held back for.
func (v View) due(spec *corev1.Container, ended *Container) time.Time {
	if v.changed(spec, ended) {
		return ended.Finished
	}
	return ended.Finished.Add(v.Mem.Backoff[ended.Name])
}
