// Package life decides what a node does for one pod and what it reports about it. It is pure: a [View] (the API object, what the
// container runtime shows, what the agent remembers, the time) goes in; [Next] gives the actions to start now and the time to
// look again, [Status] gives the pod status. The agent in package node carries the actions out.
package life

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// State is the runtime state of a container.
type State int

// The states of a container in the runtime.
const (
	Created State = iota
	Running
	Exited
	Unknown
)

// String is the state's name, as metrics have it.
func (s State) String() string {
	return [...]string{"created", "running", "exited", "unknown"}[s]
}

// Sandbox is one pod sandbox as the runtime shows it.
type Sandbox struct {
	ID      string
	Attempt uint32
	Ready   bool
	IPs     []string
}

// Container is one container as the runtime shows it. Attempt counts the restarts of its name.
type Container struct {
	ID, Name, SandboxID string
	Image, ImageID      string
	SpecImage           string // the image the container was made for
	Attempt             uint32
	State               State
	Created             time.Time
	Started, Finished   time.Time
	ExitCode            int32
	Reason, Message     string
}

// Observed is all the runtime knows of a pod. Sandboxes, and the containers of each name, come newest first.
type Observed struct {
	Sandboxes  []Sandbox
	Containers map[string][]Container
}

// Newest is the latest container of a name, or nil.
func (o Observed) Newest(name string) *Container {
	if list := o.Containers[name]; len(list) > 0 {
		return &list[0]
	}
	return nil
}

// Ready is the running sandbox, or nil.
func (o Observed) Ready() *Sandbox {
	if len(o.Sandboxes) > 0 && o.Sandboxes[0].Ready {
		return &o.Sandboxes[0]
	}
	return nil
}

// Up tells whether a sandbox or a container runs.
func (o Observed) Up(id string) bool {
	for _, s := range o.Sandboxes {
		if s.ID == id {
			return s.Ready
		}
	}
	for _, list := range o.Containers {
		for i := range list {
			if list[i].ID == id {
				return list[i].State == Running
			}
		}
	}
	return false
}

// Failure is why something could not be done, and when to try again.
type Failure struct {
	Reason, Message string
	Retry           time.Time
	Delay           time.Duration // the wait that Retry ends
	Image           string        // of the container that could not be started; one of another image is tried at once
}

// Rejection is the end of a pod that the node refuses or ends before its time, for example SysctlForbidden.
type Rejection struct{ Reason, Message string }

// Restart is a container that has to be replaced, with the text of its Killing event. Grace overrides the pod's when set.
type Restart struct {
	Message string
	Grace   *int64
}

// Memory is what the agent remembers about a pod between two looks.
type Memory struct {
	FirstSeen      time.Time
	Starting       bool                     // a sandbox or a container is being started
	Stopping       map[string]bool          // sandboxes being stopped or removed, containers being removed
	Killing        map[string]time.Duration // containers being killed, and the grace they were given
	Deleting       bool                     // the API object is being deleted
	Setup          Failure                  // of volumes and sandbox
	Failures       map[string]Failure       // of containers, by name
	Backoff        map[string]time.Duration // wait between the end and the next start of a container, by name
	PostStart      map[string]bool          // containers whose postStart hook is still running, by id
	Started        map[string]bool          // outcome of the startup probe, by container id
	Ready          map[string]bool          // outcome of the readiness probe, by container id
	PendingRestart map[string]Restart       // by container id
	Replaced       map[string]bool          // containers that were ended to be started for another image or with other resources, by id
	Anew           time.Time                // what was made before has to begin anew; see [BegunAnew]
	Rejected       *Rejection

	Given      Resources                              // what the pod has been given of what it asks for
	Applied    map[string]corev1.ResourceRequirements // what the runtime was told, by container id
	AppliedPod *corev1.ResourceRequirements           // and for the pod as a whole
	Resizing   Resizing
	Applying   bool      // the runtime is being told
	ApplyRetry time.Time // when it may be tried again
}

// NewMemory is the memory of a pod seen for the first time.
func NewMemory(now time.Time) *Memory {
	return &Memory{
		FirstSeen:      now,
		Stopping:       map[string]bool{},
		Killing:        map[string]time.Duration{},
		Failures:       map[string]Failure{},
		Backoff:        map[string]time.Duration{},
		PostStart:      map[string]bool{},
		Started:        map[string]bool{},
		Ready:          map[string]bool{},
		PendingRestart: map[string]Restart{},
		Replaced:       map[string]bool{},
		Applied:        map[string]corev1.ResourceRequirements{},
	}
}

// View is everything a decision depends on.
type View struct {
	Pod     *corev1.Pod
	Gone    bool // the API no longer has the object
	Seen    Observed
	Mem     *Memory
	NodeIPs []string // of the node, the primary first
	Now     time.Time
}

// terminating: the pod is to be ended, because it is being or has been deleted.
func (v View) terminating() bool { return v.Gone || v.Pod.DeletionTimestamp != nil }

// finished: the pod has no more work to do on this node. It stays finished for ever.
func (v View) finished() bool {
	if v.Mem.Rejected != nil || api.Finished(v.Pod) {
		return true
	}
	for i := range v.Pod.Spec.InitContainers {
		c := &v.Pod.Spec.InitContainers[i]
		ended := v.Seen.Newest(c.Name)
		if !api.Sidecar(c) && ended != nil && ended.State == Exited && ended.ExitCode != 0 && !v.restarts(c, true, ended) {
			return true
		}
	}
	for i := range v.Pod.Spec.Containers {
		c := &v.Pod.Spec.Containers[i]
		ended := v.Seen.Newest(c.Name)
		if ended == nil || ended.State != Exited || v.restarts(c, false, ended) {
			return false
		}
	}
	return true
}

// Deadline is when a pod will have been active for too long (spec.activeDeadlineSeconds); zero when it may go on, is being ended, or has
// finished.
func Deadline(v View) time.Time {
	limit, start := v.Pod.Spec.ActiveDeadlineSeconds, v.Pod.Status.StartTime
	if limit == nil || start == nil || v.terminating() || v.finished() {
		return time.Time{}
	}
	return start.Add(time.Duration(*limit) * time.Second)
}

// started: the container runs, its postStart hook is over and its startup probe, if any, has succeeded (rule R17).
func (v View) started(spec *corev1.Container, c *Container) bool {
	return c.State == Running && !v.Mem.PostStart[c.ID] && (spec.StartupProbe == nil || v.Mem.Started[c.ID])
}

// ready: the container is started and its readiness probe, if any, has succeeded (rules R22, R30).
func (v View) ready(spec *corev1.Container, c *Container) bool {
	return v.started(spec, c) && (spec.ReadinessProbe == nil || v.Mem.Ready[c.ID])
}

// initialized: all init containers have succeeded and the sidecars among them have started. It stays so once a main container
// has been made in the present sandbox.
func (v View) initialized() bool {
	if v.mainStarted() {
		return true
	}
	for i := range v.Pod.Spec.InitContainers {
		if !v.initDone(&v.Pod.Spec.InitContainers[i]) {
			return false
		}
	}
	return true
}

// mainStarted: a main container exists in the present sandbox, or in the last one of a pod that has finished.
func (v View) mainStarted() bool {
	for i := range v.Pod.Spec.Containers {
		c := v.Seen.Newest(v.Pod.Spec.Containers[i].Name)
		if c != nil && !v.outdated(c) && (v.inSandbox(c) || v.Seen.Ready() == nil) {
			return true
		}
	}
	return false
}

func (v View) inSandbox(c *Container) bool {
	s := v.Seen.Ready()
	return s != nil && c.SandboxID == s.ID
}

func (v View) initDone(spec *corev1.Container) bool {
	c := v.Seen.Newest(spec.Name)
	if c == nil || !v.inSandbox(c) || v.outdated(c) {
		return false
	}
	if api.Sidecar(spec) {
		return v.started(spec, c)
	}
	return c.State == Exited && c.ExitCode == 0
}

// alive tells whether a container has, or may have, a process.
func alive(c *Container) bool { return c != nil && (c.State == Running || c.State == Unknown) }
