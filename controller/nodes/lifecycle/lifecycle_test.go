package lifecycle

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestFreeCIDR(t *testing.T) {
	for _, c := range []struct{ cluster, taken, want string }{
		{"10.244.0.0/16", "", "10.244.0.0/24"},
		{"10.244.0.0/16", "10.244.0.0/24 10.244.2.0/24", "10.244.1.0/24"},
		{"10.244.0.0/16", "10.244.0.0/25", "10.244.1.0/24"},
		{"10.244.0.0/23", "10.244.0.0/24", "10.244.1.0/24"},
		{"10.244.0.0/23", "10.244.0.0/24 10.244.1.0/24", ""},
		{"10.244.0.0/26", "", "10.244.0.0/26"},
		{"10.244.0.0/26", "10.244.0.0/26", ""},
		{"255.255.255.0/24", "255.255.255.0/24", ""},
		{"fd00::/56", "fd00::/64", "fd00:0:0:1::/64"},
	} {
		var taken []netip.Prefix
		for _, s := range strings.Fields(c.taken) {
			taken = append(taken, netip.MustParsePrefix(s))
		}
		got, ok := FreeCIDR(netip.MustParsePrefix(c.cluster), taken)
		if ok != (c.want != "") || ok && got != netip.MustParsePrefix(c.want) {
			t.Errorf("%s without %s: %s, %v; want %s", c.cluster, c.taken, got, ok, c.want)
		}
	}
}

func node(ready corev1.ConditionStatus, taints ...corev1.Taint) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}, Spec: corev1.NodeSpec{Taints: taints}}
	n.Status.Conditions = []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: ready, Reason: "KubeletReady"},
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
	}
	return n
}

func noExecute(key string, ageSeconds int) corev1.Taint {
	at := metav1.NewTime(epoch.Add(-time.Duration(ageSeconds) * time.Second))
	return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: &at}
}

func printTaints(taints []corev1.Taint) string {
	var out []string
	for _, t := range taints {
		out = append(out, strings.TrimPrefix(t.Key, "node.kubernetes.io/")+":"+string(t.Effect))
	}
	return strings.Join(out, " ")
}

func TestR35_SilentNode(t *testing.T) {
	fresh := PlanNode(node(corev1.ConditionTrue), epoch.Add(-30*time.Second), epoch)
	if fresh.Unreachable || len(fresh.Conditions) != 0 || fresh.TaintsChanged || fresh.Recheck != 10*time.Second {
		t.Errorf("after 30 s: %+v", fresh)
	}
	plan := PlanNode(node(corev1.ConditionTrue), epoch.Add(-41*time.Second), epoch)
	got := map[corev1.NodeConditionType]string{}
	for _, c := range plan.Conditions {
		got[c.Type] = fmt.Sprint(c.Status, " ", c.Reason, " ", c.Message)
	}
	stopped, never := "Unknown NodeStatusUnknown Kubelet stopped posting node status.", "Unknown NodeStatusNeverUpdated Kubelet never posted node status."
	want := map[corev1.NodeConditionType]string{"Ready": stopped, "MemoryPressure": stopped, "DiskPressure": never, "PIDPressure": never}
	if fmt.Sprint(got) != fmt.Sprint(want) || !plan.Unreachable {
		t.Errorf("after 41 s: %v, unreachable %v", got, plan.Unreachable)
	}
	if s := printTaints(plan.Taints); s != "unreachable:NoSchedule unreachable:NoExecute" {
		t.Errorf("taints %q", s)
	}
	// Once written, nothing is left to write.
	n := node(corev1.ConditionUnknown, plan.Taints...)
	n.Status.Conditions = plan.Conditions
	if again := PlanNode(n, epoch.Add(-time.Hour), epoch.Add(time.Hour)); len(again.Conditions) != 0 || again.TaintsChanged || !again.Unreachable {
		t.Errorf("second look: %+v", again)
	}
}

func TestTaintsFollowConditions(t *testing.T) {
	user := corev1.Taint{Key: "dedicated", Value: "db", Effect: corev1.TaintEffectNoExecute}
	pressed := node(corev1.ConditionTrue)
	pressed.Status.Conditions[1].Status = corev1.ConditionTrue
	cordoned := node(corev1.ConditionTrue)
	cordoned.Spec.Unschedulable = true
	for _, c := range []struct {
		what string
		node *corev1.Node
		want string
	}{
		{"not ready", node(corev1.ConditionFalse, user), "dedicated:NoExecute not-ready:NoSchedule not-ready:NoExecute"},
		{"recovered", node(corev1.ConditionTrue, noExecute(corev1.TaintNodeUnreachable, 100), user), "dedicated:NoExecute"},
		{"unreachable to not ready", node(corev1.ConditionFalse, noExecute(corev1.TaintNodeUnreachable, 100)), "not-ready:NoSchedule not-ready:NoExecute"},
		{"memory pressure", pressed, "memory-pressure:NoSchedule"},
		{"cordoned", cordoned, "unschedulable:NoSchedule"},
	} {
		plan := PlanNode(c.node, epoch, epoch)
		if got := printTaints(plan.Taints); !plan.TaintsChanged || got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	// The time of a taint that stays does not move: evictions count from it.
	old := noExecute(corev1.TaintNodeNotReady, 100)
	plan := PlanNode(node(corev1.ConditionFalse, old), epoch, epoch)
	if !plan.Taints[0].TimeAdded.Equal(old.TimeAdded) {
		t.Errorf("taints %+v", plan.Taints)
	}
}

func TestPlanEviction(t *testing.T) {
	seconds := func(key string, s int64) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &s}
	}
	for _, c := range []struct {
		what        string
		tolerations []corev1.Toleration
		taints      []corev1.Taint
		noneReady   bool
		age         time.Duration // of the pod; 0: old
		observing   time.Duration // 0: for long
		wait        time.Duration
		stays       bool
	}{
		{what: "no taints", stays: true},
		{what: "only NoSchedule", taints: []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}, stays: true},
		{what: "not tolerated", taints: []corev1.Taint{noExecute("k", 0)}},
		{what: "tolerated", tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}}, taints: []corev1.Taint{noExecute("k", 0)}, stays: true},
		{what: "tolerated for a minute", tolerations: []corev1.Toleration{seconds("k", 60)}, taints: []corev1.Taint{noExecute("k", 20)}, wait: 40 * time.Second},
		{what: "the minute is over", tolerations: []corev1.Toleration{seconds("k", 60)}, taints: []corev1.Taint{noExecute("k", 61)}},
		{what: "the shortest counts", tolerations: []corev1.Toleration{seconds("", 100), seconds("k", 60)}, taints: []corev1.Taint{noExecute("k", 0)}, wait: time.Minute},
		{what: "unreachable, by default", taints: []corev1.Taint{noExecute(corev1.TaintNodeUnreachable, 100)}, wait: 200 * time.Second},
		{what: "unreachable too long", taints: []corev1.Taint{noExecute(corev1.TaintNodeUnreachable, 301)}},
		{what: "unreachable while nobody watched", taints: []corev1.Taint{noExecute(corev1.TaintNodeUnreachable, 8*3600)}, observing: time.Second, wait: 299 * time.Second},
		{what: "tainted in the future", taints: []corev1.Taint{noExecute(corev1.TaintNodeUnreachable, -3600)}, observing: 100 * time.Second, wait: 200 * time.Second},
		{what: "the user's taint counts by its own time", taints: []corev1.Taint{noExecute("k", 61)}, tolerations: []corev1.Toleration{seconds("k", 60)}, observing: time.Second},
		{what: "all nodes are unreachable", taints: []corev1.Taint{noExecute(corev1.TaintNodeUnreachable, 301)}, noneReady: true, stays: true},
		{what: "the user's taint when no node is ready", taints: []corev1.Taint{noExecute("k", 0)}, noneReady: true},
		{what: "a new pod, though not tolerated", taints: []corev1.Taint{noExecute("k", 100)}, age: time.Second, wait: 4 * time.Second},
		{what: "no longer new", taints: []corev1.Taint{noExecute("k", 100)}, age: 6 * time.Second},
		{what: "a new pod that tolerates nothing for long", tolerations: []corev1.Toleration{seconds("k", 0)}, taints: []corev1.Taint{noExecute("k", 100)}, age: 3 * time.Second, wait: 2 * time.Second},
		{what: "the first of two", tolerations: []corev1.Toleration{seconds("a", 60), seconds("b", 30)}, taints: []corev1.Taint{noExecute("a", 0), noExecute("b", 0)}, wait: 30 * time.Second},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Tolerations: c.tolerations}}
		if c.age != 0 {
			p.CreationTimestamp = metav1.NewTime(epoch.Add(-c.age))
		}
		observing := epoch.Add(-time.Hour)
		if c.observing != 0 {
			observing = epoch.Add(-c.observing)
		}
		at, stays := PlanEviction(p, c.taints, !c.noneReady, observing, epoch)
		wait := time.Duration(0)
		if !stays {
			wait = max(0, at.Sub(epoch))
		}
		if wait != c.wait || stays != c.stays {
			t.Errorf("%s: wait %s, stays %v; want %s, %v", c.what, wait, stays, c.wait, c.stays)
		}
	}
}
