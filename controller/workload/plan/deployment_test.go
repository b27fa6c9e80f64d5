package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

func planDeployment(t *testing.T, d *appsv1.Deployment, sets ...*appsv1.ReplicaSet) DeploymentChanges {
	t.Helper()
	plan, err := Deployment(d, sets, nil, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// sizes prints the plan's updates as "image:from->to", in order.
func sizes(plan DeploymentChanges) string {
	var out []string
	for _, u := range plan.Update {
		if Replicas(u.Set) != u.From {
			out = append(out, fmt.Sprintf("%s:%d->%d", u.Set.Spec.Template.Spec.Containers[0].Image, u.From, Replicas(u.Set)))
		}
	}
	return strings.Join(out, " ")
}

func progressing(s appsv1.DeploymentStatus, want appsv1.DeploymentConditionType) string {
	for _, c := range s.Conditions {
		if c.Type == want {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

func TestD30_Limits(t *testing.T) {
	for _, c := range []struct {
		replicas           int32
		surge, unavailable string
		up, down           int32
	}{
		{4, "25%", "25%", 1, 1}, {2, "25%", "25%", 1, 0}, {10, "25%", "25%", 3, 2}, {3, "0", "0", 0, 1},
		{3, "0%", "10%", 0, 1}, {5, "2", "10", 2, 5}, {0, "25%", "25%", 0, 0},
	} {
		d := deployment(c.replicas, "a")
		strategy(d, c.surge, c.unavailable)
		if up, down := limits(d, c.replicas); up != c.up || down != c.down {
			t.Errorf("%d replicas, surge %s, unavailable %s: %d, %d, want %d, %d", c.replicas, c.surge, c.unavailable, up, down, c.up, c.down)
		}
	}
}

func TestD31_NewReplicaSet(t *testing.T) {
	d := deployment(3, "a")
	d.Annotations = map[string]string{"kept": "yes", corev1.LastAppliedConfigAnnotation: "{}"}
	rs := planDeployment(t, d).Create
	if rs == nil {
		t.Fatal("creates nothing")
	}
	hash := rs.Labels["pod-template-hash"]
	if rs.Name != "web-"+hash || hash == "" || strings.ContainsAny(hash, "aeiou") {
		t.Errorf("name %q, hash %q", rs.Name, hash)
	}
	if rs.Spec.Selector.MatchLabels["pod-template-hash"] != hash || rs.Spec.Template.Labels["pod-template-hash"] != hash {
		t.Errorf("hash missing on selector or template: %+v", rs.Spec)
	}
	if d.Spec.Template.Labels["pod-template-hash"] != "" || d.Spec.Selector.MatchLabels["pod-template-hash"] != "" {
		t.Error("the plan changed its input")
	}
	want := map[string]string{RevisionKey: "1", desiredKey: "3", maxKey: "4", "kept": "yes"}
	if fmt.Sprint(rs.Annotations) != fmt.Sprint(want) || Replicas(rs) != 3 {
		t.Errorf("annotations %v, replicas %d", rs.Annotations, Replicas(rs))
	}
	d.Status.CollisionCount = ptr(int32(1))
	if again := planDeployment(t, d).Create; again.Name == rs.Name {
		t.Errorf("a collision leads to the same name %s", again.Name)
	}
}

func TestD31_HashIgnoresMapOrder(t *testing.T) {
	d := deployment(1, "a")
	d.Spec.Template.Labels = map[string]string{}
	for i := range 20 {
		d.Spec.Template.Labels[fmt.Sprintf("k%d", i)] = "v"
	}
	first := templateHash(&d.Spec.Template, nil)
	for range 20 {
		if again := templateHash(d.Spec.Template.DeepCopy(), nil); again != first {
			t.Fatalf("%s, then %s", first, again)
		}
	}
}

func TestD30_RollingUpdateSteps(t *testing.T) {
	d := deployment(4, "b") // surge 1, unavailable 1
	old := setOf(d, "a", 1, 4, 4)
	if plan := planDeployment(t, d, old); plan.Create == nil || Replicas(plan.Create) != 1 || sizes(plan) != "" {
		t.Fatalf("first pass: create %+v, updates %q", plan.Create, sizes(plan))
	}
	for _, c := range []struct {
		newSize, newAvailable, oldSize, oldAvailable int32
		want                                         string
	}{
		{1, 0, 4, 4, "a:4->3"},
		{1, 0, 3, 3, "b:1->2"},
		{2, 0, 3, 3, ""},
		{2, 2, 3, 3, "a:3->1"},
		{2, 2, 3, 1, "a:3->1"}, // two old pods serve nobody: they go first
		{4, 4, 1, 1, "a:1->0"},
		{4, 3, 1, 1, "a:1->0"},
		{4, 4, 0, 0, ""},
		{1, 1, 4, 0, "a:4->2"}, // broken old pods do not hold up the new
	} {
		plan := planDeployment(t, d, setOf(d, "a", 1, c.oldSize, c.oldAvailable), setOf(d, "b", 2, c.newSize, c.newAvailable))
		if got := sizes(plan); got != c.want {
			t.Errorf("new %d/%d, old %d/%d: %q, want %q", c.newAvailable, c.newSize, c.oldAvailable, c.oldSize, got, c.want)
		}
	}
}

func TestD32_Scaling(t *testing.T) {
	one := deployment(3, "a")
	set := setOf(one, "a", 1, 3, 3)
	one.Spec.Replicas = ptr(int32(5))
	if got := planDeployment(t, one, set); sizes(got) != "a:3->5" || got.Create != nil {
		t.Errorf("scale up: %q", sizes(got))
	}
	one.Spec.Replicas = ptr(int32(0))
	if got := sizes(planDeployment(t, one, set)); got != "a:3->0" {
		t.Errorf("scale to zero: %q", got)
	}
	// In the middle of an update every set grows with its part.
	d := deployment(10, "b")
	strategy(d, "3", "2")
	a, b := setOf(d, "a", 1, 8, 8), setOf(d, "b", 2, 5, 3)
	a.Annotations[maxKey], b.Annotations[maxKey] = "13", "13"
	d.Spec.Replicas = ptr(int32(20))
	if got := sizes(planDeployment(t, d, a, b)); got != "b:5->9 a:8->14" {
		t.Errorf("proportional scaling: %q", got)
	}
	d.Spec.Replicas = ptr(int32(0))
	if got := sizes(planDeployment(t, d, a, b)); got != "b:5->0 a:8->0" {
		t.Errorf("proportional scaling to zero: %q", got)
	}
}

func TestD33_UndoTakesTheOldSetWithANewRevision(t *testing.T) {
	d := deployment(2, "a")
	plan := planDeployment(t, d, setOf(d, "a", 1, 0, 0), setOf(d, "b", 2, 2, 2))
	if plan.Create != nil || plan.Revision != "3" {
		t.Fatalf("create %v, revision %q", plan.Create, plan.Revision)
	}
	set := plan.Update[0].Set
	if set.Annotations[RevisionKey] != "3" || set.Annotations[historyKey] != "1" || sizes(plan) != "a:0->1" {
		t.Errorf("annotations %v, %q", set.Annotations, sizes(plan))
	}
}

func TestD33_HistoryLimit(t *testing.T) {
	d := deployment(1, "z")
	d.Spec.RevisionHistoryLimit = ptr(int32(2))
	sets := []*appsv1.ReplicaSet{setOf(d, "z", 9, 1, 1)}
	for i, image := range []string{"a", "b", "c", "d"} {
		sets = append(sets, setOf(d, image, i+1, 0, 0))
	}
	sets[2].Status.ObservedGeneration = 0 // not yet known to be empty
	if got := names(planDeployment(t, d, sets...).Delete); got != sets[1].Name+" " {
		t.Errorf("deletes %q, want only %q", got, sets[1].Name)
	}
	sets[0].Status.AvailableReplicas = 0
	if got := names(planDeployment(t, d, sets...).Delete); got != "" {
		t.Errorf("deletes %q in the middle of a rollout", got)
	}
}

func TestD34_Conditions(t *testing.T) {
	d := deployment(2, "a")
	check := func(what string, plan DeploymentChanges, available, progress string) {
		t.Helper()
		if got := progressing(plan.Status, appsv1.DeploymentAvailable); got != available {
			t.Errorf("%s: Available %q, want %q", what, got, available)
		}
		if got := progressing(plan.Status, appsv1.DeploymentProgressing); got != progress {
			t.Errorf("%s: Progressing %q, want %q", what, got, progress)
		}
		d.Status = plan.Status
	}
	check("created", planDeployment(t, d), "False MinimumReplicasUnavailable", "True NewReplicaSetCreated")
	check("pods made", planDeployment(t, d, setOf(d, "a", 1, 2, 0)), "False MinimumReplicasUnavailable", "True ReplicaSetUpdated")
	check("one ready", planDeployment(t, d, setOf(d, "a", 1, 2, 1)), "False MinimumReplicasUnavailable", "True ReplicaSetUpdated")
	check("all ready", planDeployment(t, d, setOf(d, "a", 1, 2, 2)), "True MinimumReplicasAvailable", "True NewReplicaSetAvailable")
	check("one lost", planDeployment(t, d, setOf(d, "a", 1, 2, 1)), "False MinimumReplicasUnavailable", "True NewReplicaSetAvailable")
	check("back", planDeployment(t, d, setOf(d, "a", 1, 2, 2)), "True MinimumReplicasAvailable", "True NewReplicaSetAvailable")
	if d.Status.ObservedGeneration != 1 || d.Status.UpdatedReplicas != 2 || d.Status.UnavailableReplicas != 0 {
		t.Errorf("status %+v", d.Status)
	}
}

func TestD34_ProgressDeadlineExceeded(t *testing.T) {
	d := deployment(2, "a")
	d.Spec.ProgressDeadlineSeconds = ptr(int32(60))
	d.Status = planDeployment(t, d).Status
	stuck := setOf(d, "a", 1, 2, 0)
	d.Status = planDeployment(t, d, stuck).Status
	early, err := Deployment(d, []*appsv1.ReplicaSet{stuck}, nil, epoch.Add(40*time.Second))
	if err != nil || early.Recheck != 21*time.Second {
		t.Errorf("recheck %s (%v), want 21s", early.Recheck, err)
	}
	late, err := Deployment(d, []*appsv1.ReplicaSet{stuck}, nil, epoch.Add(62*time.Second))
	if got := progressing(late.Status, appsv1.DeploymentProgressing); err != nil || got != "False ProgressDeadlineExceeded" {
		t.Errorf("Progressing %q (%v)", got, err)
	}
}

func TestD35_RecreateWaitsForOldPods(t *testing.T) {
	d := deployment(2, "b")
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	old := setOf(d, "a", 1, 2, 2)
	if plan := planDeployment(t, d, old); plan.Create != nil || sizes(plan) != "a:2->0" {
		t.Errorf("first: create %v, %q", plan.Create, sizes(plan))
	}
	empty := setOf(d, "a", 1, 0, 0)
	for _, c := range []struct {
		pod     *corev1.Pod
		creates bool
	}{{podOf(empty, "p", terminating), false}, {podOf(empty, "p", failed), true}, {nil, true}} {
		var pods []*corev1.Pod
		if c.pod != nil {
			pods = append(pods, c.pod)
		}
		plan, err := Deployment(d, []*appsv1.ReplicaSet{empty}, pods, epoch)
		if err != nil || (plan.Create != nil) != c.creates {
			t.Errorf("pods %q: create %v (%v)", names(pods), plan.Create, err)
		}
		if plan.Create != nil && Replicas(plan.Create) != 2 {
			t.Errorf("new set has %d replicas", Replicas(plan.Create))
		}
	}
}

func TestD36_Paused(t *testing.T) {
	d := deployment(3, "b")
	d.Spec.Paused = true
	old := setOf(d, "a", 1, 3, 3)
	plan := planDeployment(t, d, old)
	if plan.Create != nil || sizes(plan) != "" || progressing(plan.Status, appsv1.DeploymentProgressing) != "Unknown DeploymentPaused" {
		t.Errorf("paused: create %v, %q, %+v", plan.Create, sizes(plan), plan.Status.Conditions)
	}
	d.Status = plan.Status
	d.Spec.Replicas = ptr(int32(5))
	if got := sizes(planDeployment(t, d, old)); got != "a:3->5" {
		t.Errorf("a paused deployment scales: %q", got)
	}
	d.Spec.Paused, d.Spec.Replicas = false, ptr(int32(3))
	if plan := planDeployment(t, d, old); plan.Create == nil {
		t.Error("a resumed deployment does not roll out")
	}
}
