package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Container states, written short.
func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func ended(reason string, code, signal int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code, Signal: signal}}
}

func state(s corev1.ContainerState, ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "c", State: s, Ready: ready}
}

// restarted is a container that restarted n times, last five minutes ago.
func restarted(s corev1.ContainerState, n int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "c", State: s, RestartCount: n, LastTerminationState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(time.Now().Add(-5 * time.Minute))},
	}}
}

// podWith is a pod of init and main containers in these states.
func podWith(phase corev1.PodPhase, init, main []corev1.ContainerStatus) *corev1.Pod {
	pod := &corev1.Pod{Status: corev1.PodStatus{Phase: phase, InitContainerStatuses: init, ContainerStatuses: main}}
	for range init {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "c"})
	}
	for range main {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "c"})
	}
	return pod
}

type statuses = []corev1.ContainerStatus

func TestM25_PodStatusInOneWord(t *testing.T) {
	change := func(pod *corev1.Pod, f func(*corev1.Pod)) *corev1.Pod { f(pod); return pod }
	condition := func(kind corev1.PodConditionType, status corev1.ConditionStatus, reason string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, Reason: reason})
		}
	}
	deleted := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }
	for _, test := range []struct {
		name string
		pod  *corev1.Pod
		want string // READY STATUS RESTARTS
	}{
		{"new", podWith("Pending", nil, statuses{{}}), "0/1 Pending 0"},
		{"creating", podWith("Pending", nil, statuses{state(waiting("ContainerCreating"), false)}), "0/1 ContainerCreating 0"},
		{"running", podWith("Running", nil, statuses{state(running(), true)}), "1/1 Running 0"},
		{"not ready", podWith("Running", nil, statuses{state(running(), false)}), "0/1 Running 0"},
		{"two", podWith("Running", nil, statuses{state(running(), true), state(running(), true)}), "2/2 Running 0"},
		{"crash loop", podWith("Running", nil, statuses{restarted(waiting("CrashLoopBackOff"), 5)}), "0/1 CrashLoopBackOff 5 (5m ago)"},
		{"image", podWith("Pending", nil, statuses{state(waiting("ErrImagePull"), false)}), "0/1 ErrImagePull 0"},
		{"completed", podWith("Succeeded", nil, statuses{state(ended("Completed", 0, 0), false)}), "0/1 Completed 0"},
		{"one of two completed", change(podWith("Running", nil, statuses{state(ended("Completed", 0, 0), false), state(running(), true)}), condition("Ready", "True", "")), "1/2 Running 0"},
		{"and not ready", podWith("Running", nil, statuses{state(ended("Completed", 0, 0), false), state(running(), true)}), "1/2 NotReady 0"},
		{"out of memory", podWith("Running", nil, statuses{state(ended("OOMKilled", 137, 0), false)}), "0/1 OOMKilled 0"},
		{"exit code", podWith("Failed", nil, statuses{state(ended("", 3, 0), false)}), "0/1 ExitCode:3 0"},
		{"signal", podWith("Failed", nil, statuses{state(ended("", 137, 9), false)}), "0/1 Signal:9 0"},
		{"sysctl", change(podWith("Failed", nil, statuses{{}}), func(p *corev1.Pod) { p.Status.Reason = "SysctlForbidden" }), "0/1 SysctlForbidden 0"},
		{"evicted", change(podWith("Failed", nil, statuses{{}}), func(p *corev1.Pod) { p.Status.Reason = "Evicted" }), "0/1 Evicted 0"},
		{"gated", change(podWith("Pending", nil, statuses{{}}), condition("PodScheduled", "False", "SchedulingGated")), "0/1 SchedulingGated 0"},
		{"init", podWith("Pending", statuses{state(running(), false), {}}, statuses{state(waiting("PodInitializing"), false)}), "0/1 Init:0/2 0"},
		{"second init", podWith("Pending", statuses{state(ended("Completed", 0, 0), true), state(waiting("PodInitializing"), false)}, statuses{{}}), "0/1 Init:1/2 0"},
		{"init crash loop", podWith("Pending", statuses{restarted(waiting("CrashLoopBackOff"), 2)}, statuses{{}}), "0/1 Init:CrashLoopBackOff 2 (5m ago)"},
		{"init error", podWith("Pending", statuses{state(ended("Error", 1, 0), false)}, statuses{{}}), "0/1 Init:Error 0"},
		{"init exit code", podWith("Pending", statuses{state(ended("", 1, 0), false)}, statuses{{}}), "0/1 Init:ExitCode:1 0"},
		{"after init", podWith("Pending", statuses{state(ended("Completed", 0, 0), true)}, statuses{state(waiting("PodInitializing"), false)}), "0/1 PodInitializing 0"},
		{"initialized, restarts of init forgotten", podWith("Running", statuses{func() corev1.ContainerStatus { c := restarted(ended("Completed", 0, 0), 4); return c }()}, statuses{state(running(), true)}), "1/1 Running 0"},
		{"sidecar", change(podWith("Running", statuses{{Name: "c", State: running(), Ready: true, Started: ptr.To(true), RestartCount: 2}}, statuses{state(running(), true)}),
			func(p *corev1.Pod) {
				p.Spec.InitContainers[0].RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
			}), "2/2 Running 2"},
		{"terminating", change(podWith("Running", nil, statuses{state(running(), true)}), deleted), "1/1 Terminating 0"},
		{"ended while terminating", change(podWith("Succeeded", nil, statuses{state(ended("Completed", 0, 0), false)}), deleted), "0/1 Completed 0"},
		{"node lost", change(change(podWith("Running", nil, statuses{state(running(), true)}), deleted), func(p *corev1.Pod) { p.Status.Reason = "NodeLost" }), "1/1 Unknown 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := pods().print([]*corev1.Pod{test.pod})
			if err != nil {
				t.Fatal(err)
			}
			row := table.Rows[0].Cells
			if got := fmt.Sprintf("%v %v %v", row[1], row[2], row[3]); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestM3_PodColumnsWide(t *testing.T) {
	pod := podWith("Running", nil, statuses{state(running(), true)})
	pod.Name, pod.Spec.NodeName, pod.Status.PodIPs = "a", "n1", []corev1.PodIP{{IP: "10.244.0.7"}, {IP: "fd00::7"}}
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "a"}, {ConditionType: "b"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "b", Status: "True"}}
	table, err := pods().print([]*corev1.Pod{pod})
	if err != nil {
		t.Fatal(err)
	}
	columns, row := table.ColumnDefinitions, table.Rows[0].Cells
	if len(columns) != len(row) {
		t.Fatalf("%d columns, %d cells", len(columns), len(row))
	}
	var titles []string
	for _, c := range columns {
		if c.Priority == 1 {
			titles = append(titles, c.Name)
		}
	}
	if got := strings.Join(titles, ","); got != "IP,Node,Nominated Node,Readiness Gates" {
		t.Errorf("wide: %s", got)
	}
	if got := fmt.Sprint(row[5:]); got != "[10.244.0.7 n1 <none> 1/2]" {
		t.Errorf("cells: %s", got)
	}
	if row[4] != "<unknown>" {
		t.Errorf("the age of a pod without a creation time: %v", row[4])
	}
}
