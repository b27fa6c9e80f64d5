package life

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// view is a pod with main containers of these names, without anything in the runtime.
func view(containers ...string) *View {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Generation: 4},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways},
	}
	for _, name := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: "i"})
	}
	return &View{Pod: pod, Seen: Observed{Containers: map[string][]Container{}}, Mem: NewMemory(now.Add(-time.Minute)), NodeIPs: []string{"192.0.2.1"}, Now: now}
}

func (v *View) init(name string, sidecar bool) *View {
	c := corev1.Container{Name: name, Image: "i"}
	if sidecar {
		always := corev1.ContainerRestartPolicyAlways
		c.RestartPolicy = &always
	}
	v.Pod.Spec.InitContainers = append(v.Pod.Spec.InitContainers, c)
	return v
}

func (v *View) policy(p corev1.RestartPolicy) *View { v.Pod.Spec.RestartPolicy = p; return v }

func (v *View) sandbox() *View {
	v.Seen.Sandboxes = append([]Sandbox{{ID: fmt.Sprintf("s%d", len(v.Seen.Sandboxes)), Attempt: uint32(len(v.Seen.Sandboxes)), Ready: true, IPs: []string{"10.1.1.1"}}}, v.Seen.Sandboxes...)
	return v
}

func (v *View) sandboxDies() *View { v.Seen.Sandboxes[0].Ready = false; return v }

// runs puts a new running container into the present sandbox; its id is name/attempt.
func (v *View) runs(name string) *View {
	list := v.Seen.Containers[name]
	c := Container{
		ID: fmt.Sprintf("%s/%d", name, len(list)), Name: name, SandboxID: v.Seen.Sandboxes[0].ID, Image: "i", SpecImage: "i",
		Attempt: uint32(len(list)), State: Running, Started: now.Add(-20 * time.Second),
	}
	v.Seen.Containers[name] = append([]Container{c}, list...)
	return v
}

// ended puts a container that ended a second ago.
func (v *View) ended(name string, code int32) *View {
	v.runs(name)
	c := &v.Seen.Containers[name][0]
	c.State, c.ExitCode, c.Finished = Exited, code, now.Add(-time.Second)
	return v
}

func (v *View) deleted(grace int64) *View {
	at := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
	v.Pod.DeletionTimestamp, v.Pod.DeletionGracePeriodSeconds = &at, &grace
	return v
}

// own gives a container a restart policy, and rules, of its own.
func (v *View) own(name string, policy corev1.ContainerRestartPolicy, rules ...corev1.ContainerRestartRule) *View {
	v.eachSpec(func(c *corev1.Container, _ bool) {
		if c.Name == name {
			c.RestartPolicy, c.RestartPolicyRules = &policy, rules
		}
	})
	return v
}

func restartOn(code int32) corev1.ContainerRestartRule {
	return corev1.ContainerRestartRule{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
		Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{code},
	}}
}

// anew gives container a a rule by which all begin anew after its end with 42, and has the agent see that.
func anew(v *View) *View {
	rule := restartOn(42)
	rule.Action = corev1.ContainerRestartRuleActionRestartAllContainers
	v.own("a", corev1.ContainerRestartPolicyNever, rule)
	v.Mem.Anew = BegunAnew(*v)
	return v
}

func (v *View) gone() *View { v.Gone = true; return v }

func (v *View) with(f func(*View)) *View { f(v); return v }

// formatDelay writes a plan as words.
func words(p Plan) string {
	var out []string
	for _, a := range p.Actions {
		word := string(a.Kind)
		for _, part := range []string{a.Name, a.ID} {
			if part != "" {
				word += " " + part
			}
		}
		if a.Kind == Kill {
			word += " " + a.Grace.String()
		}
		if a.Kind == RunSandbox || a.Kind == Start {
			word += fmt.Sprintf(" #%d", a.Attempt)
		}
		out = append(out, word)
	}
	if !p.Wake.IsZero() {
		out = append(out, "wake +"+p.Wake.Sub(now).String())
	}
	return strings.Join(out, "; ")
}

func TestNext(t *testing.T) {
	tests := []struct {
		name string
		view *View
		want string
	}{
		{"a new pod gets a sandbox", view("a"), "run-sandbox #0"},
		{"not while one is being made", view("a").with(func(v *View) { v.Mem.Starting = true }), ""},
		{"not before a failed one may be tried again", view("a").with(func(v *View) { v.Mem.Setup.Retry = now.Add(time.Second) }), "wake +1s"},
		{"then its container", view("a").sandbox(), "start a #0"},
		{"one start at a time", view("a", "b").sandbox(), "start a #0"},
		{"the next one when the first runs", view("a", "b").sandbox().runs("a"), "start b #0"},
		{"nothing to do when all run", view("a").sandbox().runs("a"), ""},
		{"init containers come first, in order", view("a").init("i", false).init("j", false).sandbox(), "start i #0"},
		{"an init container that runs is waited for", view("a").init("i", false).sandbox().runs("i"), ""},
		{"one that succeeded leads on", view("a").init("i", false).init("j", false).sandbox().ended("i", 0), "start j #0"},
		{"one that failed is restarted", view("a").init("i", false).sandbox().ended("i", 1), "start i #1"},
		{"with policy Never the pod has failed", view("a").init("i", false).policy(corev1.RestartPolicyNever).sandbox().ended("i", 1), "stop-sandbox s0"},
		{"KEP-753 a started sidecar leads on", view("a").init("s", true).sandbox().runs("s"), "start a #0"},
		{"KEP-753 a sidecar with a startup probe leads on when it has succeeded", view("a").init("s", true).sandbox().runs("s").with(func(v *View) {
			v.Pod.Spec.InitContainers[0].StartupProbe = &corev1.Probe{}
		}), ""},
		{"KEP-753 a sidecar is restarted whatever the policy", view("a").init("s", true).policy(corev1.RestartPolicyNever).sandbox().ended("s", 0).runs("a"), "start s #1"},
		{"KEP-753 sidecars end after the main containers", view("a").init("s", true).policy(corev1.RestartPolicyNever).sandbox().runs("s").ended("a", 0), "kill s s/0 30s"},
		{"R40 Always restarts success", view("a").sandbox().ended("a", 0), "start a #1"},
		{"R40 OnFailure restarts failure", view("a").policy(corev1.RestartPolicyOnFailure).sandbox().ended("a", 1), "start a #1"},
		{"R40 OnFailure leaves success", view("a").policy(corev1.RestartPolicyOnFailure).sandbox().ended("a", 0), "stop-sandbox s0"},
		{"R40 Never leaves failure", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 1), "stop-sandbox s0"},
		{"R40 back-off counts from the end", view("a").sandbox().ended("a", 1).with(func(v *View) { v.Mem.Backoff["a"] = 10 * time.Second }), "wake +9s"},
		{"R19 a container that failed its probe is killed", view("a").sandbox().runs("a").with(func(v *View) { v.Mem.PendingRestart["a/0"] = Restart{} }), "kill a a/0 30s"},
		{"R19 with the probe's grace", view("a").sandbox().runs("a").with(func(v *View) {
			five := int64(5)
			v.Mem.PendingRestart["a/0"] = Restart{Grace: &five}
		}), "kill a a/0 5s"},
		{"D10 a changed image replaces the container", view("a").sandbox().runs("a").with(func(v *View) { v.Pod.Spec.Containers[0].Image = "new" }), "kill a a/0 30s"},
		{"D10 and is started again whatever the policy", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 137).with(func(v *View) {
			v.Pod.Spec.Containers[0].Image, v.Mem.Replaced["a/0"] = "new", true
		}), "start a #1"},
		{"D10 one that ended by itself is not", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 0).with(func(v *View) { v.Pod.Spec.Containers[0].Image = "new" }), "stop-sandbox s0"},
		{"D10 another image does not wait for the back-off of the old one", view("a").sandbox().ended("a", 1).with(func(v *View) {
			v.Mem.Backoff["a"], v.Mem.Failures["a"], v.Pod.Spec.Containers[0].Image = MaxDelay, Failure{Retry: now.Add(time.Hour), Image: "i"}, "new"
		}), "start a #1"},
		{"KEP-5307 a container's own policy goes before the pod's", view("a").own("a", corev1.ContainerRestartPolicyNever).sandbox().ended("a", 1), "stop-sandbox s0"},
		{"KEP-5307 also where the pod's is Never", view("a").policy(corev1.RestartPolicyNever).own("a", corev1.ContainerRestartPolicyOnFailure).sandbox().ended("a", 1), "start a #1"},
		{"KEP-5307 and of init containers", view("a").init("i", false).own("i", corev1.ContainerRestartPolicyNever).sandbox().ended("i", 1), "stop-sandbox s0"},
		{"KEP-5307 a rule goes before both", view("a").policy(corev1.RestartPolicyNever).own("a", corev1.ContainerRestartPolicyNever, restartOn(42)).sandbox().ended("a", 42), "start a #1"},
		{"KEP-5307 a rule about other codes says nothing", view("a").policy(corev1.RestartPolicyNever).own("a", corev1.ContainerRestartPolicyNever, restartOn(42)).sandbox().ended("a", 43), "stop-sandbox s0"},
		{"KEP-5532 all are ended at once", anew(view("a", "b").init("s", true).sandbox().runs("s").ended("a", 42).runs("b")), "kill s s/0 0s; kill b b/0 0s"},
		{"KEP-5532 nothing starts while one is alive", anew(view("a", "b").sandbox().ended("a", 42).runs("b")).with(func(v *View) { v.Mem.Killing["b/0"] = 0 }), ""},
		{"KEP-5532 then init containers come first, whatever the policy", anew(view("a", "b").policy(corev1.RestartPolicyNever).init("i", false).sandbox().ended("i", 0).ended("a", 42).ended("b", 0)), "start i #1"},
		{"KEP-5532 and those of the new time stay", anew(view("a").init("i", false).sandbox().ended("i", 0).ended("a", 42)).with(func(v *View) { v.ended("i", 0).Seen.Containers["i"][0].Created = now }), "start a #1"},
		{"KEP-753 with what is left of the grace", view("a").init("s", true).sandbox().runs("s").ended("a", 0).deleted(30).with(func(v *View) { v.Now = now.Add(7 * time.Second) }), "kill s s/0 23s"},
		{"KEP-753 but with two seconds", view("a").init("s", true).sandbox().runs("s").ended("a", 0).deleted(30).with(func(v *View) { v.Now = now.Add(time.Minute) }), "kill s s/0 2s"},
		{"R42 a dead sandbox takes its containers along", view("a").sandbox().runs("a").sandboxDies(), "kill a a/0 30s"},
		{"R42 and is replaced", view("a").sandbox().ended("a", 137).sandboxDies(), "run-sandbox #1"},
		{"R42 init containers run again in the new one", view("a").init("i", false).sandbox().ended("i", 0).ended("a", 137).sandboxDies().sandbox(), "start i #1"},
		{"an interrupted start is cleared away", view("a").sandbox().runs("a").with(func(v *View) { v.Seen.Containers["a"][0].State = Created }), "remove a/0"},
		{"D5 deletion kills everything at once", view("a").sandbox().runs("a").deleted(7), "kill a a/0 7s"},
		{"D5 a kill under way is not repeated", view("a").sandbox().runs("a").deleted(7).with(func(v *View) { v.Mem.Killing["a/0"] = 7 * time.Second }), ""},
		{"D6 unless the grace became shorter", view("a").sandbox().runs("a").deleted(1).with(func(v *View) { v.Mem.Killing["a/0"] = 7 * time.Second }), "kill a a/0 1s"},
		{"D5 then sandbox and object go together", view("a").sandbox().ended("a", 0).deleted(7), "stop-sandbox s0; delete"},
		{"D5 a pod that never ran is deleted at once", view("a").deleted(7), "delete"},
		{"D5 not while a start is under way", view("a").deleted(7).with(func(v *View) { v.Mem.Starting = true }), ""},
		{"D6 the object vanished: containers are killed all the same", view("a").sandbox().runs("a").gone(), "kill a a/0 30s"},
		{"then the sandbox is removed", view("a").sandbox().ended("a", 0).sandboxDies().gone(), "remove-sandbox s0"},
		{"then containers without one", view("a").sandbox().ended("a", 0).with(func(v *View) { v.Seen.Sandboxes = nil }).gone(), "remove a/0"},
		{"then nothing is left", view("a").gone(), "cleanup"},
		{"a rejected pod is not started", view("a").with(func(v *View) { v.Mem.Rejected = &Rejection{} }), ""},
		{"a pod that has failed is never started again", view("a").with(func(v *View) { v.Pod.Status.Phase = corev1.PodFailed }), ""},
		{"a failed start is tried again at its time", view("a", "b").sandbox().with(func(v *View) {
			v.Mem.Failures["a"] = Failure{Image: "i", Retry: now.Add(3 * time.Second)}
		}), "start b #0; wake +3s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := words(Next(*test.view)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestR40_NextDelay(t *testing.T) {
	var got []time.Duration
	for d := time.Duration(0); len(got) < 7; {
		d = NextDelay(d, ran(time.Second))
		got = append(got, d)
	}
	want := []time.Duration{10e9, 20e9, 40e9, 80e9, 160e9, 300e9, 300e9}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := NextDelay(300*time.Second, ran(10*time.Minute)); d != FirstDelay {
		t.Errorf("after a clean run of 10 minutes: %v", d)
	}
	// One that could never be started has only an end.
	got = nil
	for d := time.Duration(0); len(got) < 7; {
		d = NextDelay(d, &Container{Finished: now})
		got = append(got, d)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("never started: got %v, want %v", got, want)
	}
}

// ran is a container that ended now after such a time.
func ran(d time.Duration) *Container { return &Container{Started: now.Add(-d), Finished: now} }

func TestD3_Phase(t *testing.T) {
	tests := []struct {
		name string
		view *View
		want corev1.PodPhase
	}{
		{"nothing yet", view("a"), corev1.PodPending},
		{"running", view("a").sandbox().runs("a"), corev1.PodRunning},
		{"one runs, one has not", view("a", "b").sandbox().runs("a"), corev1.PodPending},
		{"init runs", view("a").init("i", false).sandbox().runs("i"), corev1.PodPending},
		{"between restarts", view("a").sandbox().ended("a", 1), corev1.PodRunning},
		{"Never, success", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 0), corev1.PodSucceeded},
		{"Never, failure", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 2), corev1.PodFailed},
		{"Never, one still runs", view("a", "b").policy(corev1.RestartPolicyNever).sandbox().ended("a", 2).runs("b"), corev1.PodRunning},
		{"sidecar still runs", view("a").init("s", true).policy(corev1.RestartPolicyNever).sandbox().runs("s").ended("a", 0), corev1.PodRunning},
		{"init failed", view("a").init("i", false).policy(corev1.RestartPolicyNever).sandbox().ended("i", 2), corev1.PodFailed},
		{"rejected", view("a").with(func(v *View) { v.Mem.Rejected = &Rejection{} }), corev1.PodFailed},
		{"KEP-3329 deleted and ended with 0", view("a").sandbox().ended("a", 0).deleted(1), corev1.PodSucceeded},
		{"KEP-3329 deleted and ended with 137", view("a").sandbox().ended("a", 137).deleted(1), corev1.PodFailed},
		{"deleted but running", view("a").sandbox().runs("a").deleted(1), corev1.PodRunning},
		{"terminal stays", view("a").with(func(v *View) { v.Pod.Status.Phase = corev1.PodSucceeded }), corev1.PodSucceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Status(*test.view).Phase; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestRejectedPodHasNoWaitingContainer: kubectl shows why the pod was rejected, not what its containers wait for.
func TestRejectedPodHasNoWaitingContainer(t *testing.T) {
	rejected := func(v *View) { v.Mem.Rejected = &Rejection{Reason: "SysctlForbidden", Message: "m"} }
	if s := Status(*view("a").with(rejected)); len(s.ContainerStatuses) != 0 || s.Reason != "SysctlForbidden" || s.Message != "m" {
		t.Errorf("never started: %+v", s)
	}
	if s := Status(*view("a").sandbox().ended("a", 137).with(rejected)); len(s.ContainerStatuses) != 1 || s.ContainerStatuses[0].State.Terminated == nil {
		t.Errorf("ended by its deadline: %+v", s.ContainerStatuses)
	}
}

// conditions writes the conditions of a status as words.
func conditions(s corev1.PodStatus) map[corev1.PodConditionType]string {
	out := map[corev1.PodConditionType]string{}
	for _, c := range s.Conditions {
		out[c.Type] = strings.TrimSpace(string(c.Status) + " " + c.Reason + " " + c.Message)
	}
	return out
}

func TestConditions(t *testing.T) {
	const unready = "False ContainersNotReady containers with unready status: [a]"
	gate := func(v *View) {
		v.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x/gate"}}
	}
	tests := []struct {
		name string
		view *View
		want map[corev1.PodConditionType]string
	}{
		{"D4 new", view("a"), map[corev1.PodConditionType]string{"PodScheduled": "True", "PodReadyToStartContainers": "False", "Initialized": "True", "Ready": unready, "ContainersReady": unready}},
		{"D4 running", view("a").sandbox().runs("a"), map[corev1.PodConditionType]string{"PodReadyToStartContainers": "True", "Initialized": "True", "Ready": "True", "ContainersReady": "True"}},
		{"R31 all containers", view("a", "b").sandbox().runs("b"), map[corev1.PodConditionType]string{"ContainersReady": unready}},
		{"R31 sidecars count", view("m").init("a", true).sandbox().runs("a").runs("m").with(func(v *View) {
			v.Pod.Spec.InitContainers[0].ReadinessProbe = &corev1.Probe{}
		}), map[corev1.PodConditionType]string{"ContainersReady": unready}},
		{"Initialized", view("a").init("i", false).init("j", false).sandbox().ended("i", 0), map[corev1.PodConditionType]string{"Initialized": "False ContainersNotInitialized containers with incomplete status: [j]"}},
		{"R32 a missing gate is closed", view("a").sandbox().runs("a").with(gate), map[corev1.PodConditionType]string{
			"ContainersReady": "True", "Ready": `False ReadinessGatesNotReady corresponding condition of pod readiness gate "x/gate" does not exist.`}},
		{"R32 a gate that is False", view("a").sandbox().runs("a").with(gate).with(func(v *View) {
			v.Pod.Status.Conditions = []corev1.PodCondition{{Type: "x/gate", Status: corev1.ConditionFalse}}
		}), map[corev1.PodConditionType]string{"Ready": `False ReadinessGatesNotReady the status of pod readiness gate "x/gate" is not "True", but False`, "x/gate": "False"}},
		{"R32 a gate that is True", view("a").sandbox().runs("a").with(gate).with(func(v *View) {
			v.Pod.Status.Conditions = []corev1.PodCondition{{Type: "x/gate", Status: corev1.ConditionTrue}}
		}), map[corev1.PodConditionType]string{"Ready": "True", "x/gate": "True"}},
		{"R33 completed", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 0), map[corev1.PodConditionType]string{
			"Ready": "False PodCompleted", "ContainersReady": "False PodCompleted", "Initialized": "True PodCompleted"}},
		{"R33 failed", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 1), map[corev1.PodConditionType]string{"Ready": "False PodFailed"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := conditions(Status(*test.view))
			for kind, want := range test.want {
				if got[kind] != want {
					t.Errorf("%s: got %q, want %q", kind, got[kind], want)
				}
			}
		})
	}
}

func TestR34_TransitionTimeMovesWithTheStatusOnly(t *testing.T) {
	old := metav1.NewTime(now.Add(-time.Hour))
	v := view("a").sandbox().runs("a")
	v.Pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: old},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: old},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: old},
	}
	for _, c := range Status(*v).Conditions {
		moved := !c.LastTransitionTime.Equal(&old)
		if want := c.Type == corev1.PodReady; (c.Type == corev1.PodScheduled || c.Type == corev1.ContainersReady || want) && moved != want {
			t.Errorf("%s: moved is %v", c.Type, moved)
		}
	}
}

func TestContainerStatus(t *testing.T) {
	probed := func(v *View) { v.Pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{} }
	startup := func(v *View) { v.Pod.Spec.Containers[0].StartupProbe = &corev1.Probe{} }
	tests := []struct {
		name string
		view *View
		want string
	}{
		{"new", view("a"), "waiting ContainerCreating"},
		{"behind init containers", view("a").init("i", false), "waiting PodInitializing"},
		{"R22 without a probe", view("a").sandbox().runs("a"), "running started ready"},
		{"R14 readiness begins bad", view("a").sandbox().runs("a").with(probed), "running started"},
		{"R30 and becomes good", view("a").sandbox().runs("a").with(probed).with(func(v *View) { v.Mem.Ready["a/0"] = true }), "running started ready"},
		{"R15 of an older container it does not count", view("a").sandbox().ended("a", 1).runs("a").with(probed).with(func(v *View) { v.Mem.Ready["a/0"] = true }), "running started restarts 1 last Error 1"},
		{"R17 held until startup", view("a").sandbox().runs("a").with(startup), "running"},
		{"R17 started", view("a").sandbox().runs("a").with(startup).with(func(v *View) { v.Mem.Started["a/0"] = true }), "running started ready"},
		{"postStart holds", view("a").sandbox().runs("a").with(func(v *View) { v.Mem.PostStart["a/0"] = true }), "running"},
		{"R16 ended", view("a").policy(corev1.RestartPolicyNever).sandbox().ended("a", 3), "ended Error 3"},
		{"R40 back-off", view("a").sandbox().ended("a", 3).with(func(v *View) { v.Mem.Backoff["a"] = 20 * time.Second }),
			"waiting CrashLoopBackOff: back-off 20s restarting failed container=a pod=p_ns(u) last Error 3"},
		{"failure", view("a").sandbox().with(func(v *View) { v.Mem.Failures["a"] = Failure{Image: "i", Reason: "ErrImagePull", Message: "no"} }), "waiting ErrImagePull: no"},
		{"R24 init container", view("a").init("i", false).sandbox().ended("i", 0).with(func(v *View) { v.Pod.Spec.Containers = nil }), "ended Completed 0 ready"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := Status(*test.view)
			list := append(s.ContainerStatuses, s.InitContainerStatuses...)
			if got := describe(&list[0]); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func describe(s *corev1.ContainerStatus) string {
	var out []string
	switch {
	case s.State.Running != nil:
		out = append(out, "running")
	case s.State.Terminated != nil:
		out = append(out, fmt.Sprintf("ended %s %d", s.State.Terminated.Reason, s.State.Terminated.ExitCode))
	default:
		word := "waiting " + s.State.Waiting.Reason
		if s.State.Waiting.Message != "" {
			word += ": " + s.State.Waiting.Message
		}
		out = append(out, word)
	}
	if s.Started != nil && *s.Started {
		out = append(out, "started")
	}
	if s.Ready {
		out = append(out, "ready")
	}
	if s.RestartCount > 0 {
		out = append(out, fmt.Sprintf("restarts %d", s.RestartCount))
	}
	if t := s.LastTerminationState.Terminated; t != nil {
		out = append(out, fmt.Sprintf("last %s %d", t.Reason, t.ExitCode))
	}
	return strings.Join(out, " ")
}

func TestD2_HostNetworkPodHasTheNodesAddress(t *testing.T) {
	v := view("a").sandbox().runs("a")
	v.Pod.Spec.HostNetwork = true
	if s := Status(*v); s.PodIP != "192.0.2.1" || s.HostIP != "192.0.2.1" || len(s.PodIPs) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestStatusIsStable(t *testing.T) {
	v := view("a").sandbox().ended("a", 1).runs("a")
	first := Status(*v)
	v.Pod.Status = first
	v.Now = now.Add(time.Hour)
	if second := Status(*v); !reflect.DeepEqual(first, second) {
		t.Errorf("nothing changed, but the status did:\n%+v\n%+v", first, second)
	}
}

func TestDeadline(t *testing.T) {
	limited := func(v *View) *View {
		seconds, start := int64(5), metav1.NewTime(now.Add(-2*time.Second))
		v.Pod.Spec.ActiveDeadlineSeconds, v.Pod.Status.StartTime = &seconds, &start
		return v
	}
	for name, test := range map[string]struct {
		v    *View
		want time.Time
	}{
		"no limit":           {view("c").sandbox().runs("c"), time.Time{}},
		"running":            {limited(view("c").sandbox().runs("c")), now.Add(3 * time.Second)},
		"waits to restart":   {limited(view("c").sandbox().ended("c", 1)), now.Add(3 * time.Second)},
		"being deleted":      {limited(view("c").sandbox().runs("c").deleted(30)), time.Time{}},
		"has just succeeded": {limited(view("c").policy(corev1.RestartPolicyNever).sandbox().ended("c", 0)), time.Time{}},
		"has succeeded":      {limited(view("c").with(func(v *View) { v.Pod.Status.Phase = corev1.PodSucceeded })), time.Time{}},
		"not started yet":    {limited(view("c")).with(func(v *View) { v.Pod.Status.StartTime = nil }), time.Time{}},
	} {
		if got := Deadline(*test.v); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
