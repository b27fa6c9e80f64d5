package plan

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func planSet(t *testing.T, rs *appsv1.ReplicaSet, pods ...*corev1.Pod) ReplicaSetChanges {
	t.Helper()
	plan, err := ReplicaSet(rs, pods, pods, epoch.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestD21_AdoptsAndReleases(t *testing.T) {
	rs := replicaSet("web", 3)
	foreign := replicaSet("other", 1)
	plan := planSet(t, rs,
		podOf(rs, "mine"),
		podOf(rs, "stray", orphan),
		podOf(rs, "stray-other-label", orphan, labelled("app", "x")),
		podOf(rs, "relabelled", labelled("app", "x")),
		podOf(rs, "stray-terminating", orphan, terminating),
		podOf(rs, "stray-failed", orphan, failed),
		podOf(foreign, "foreign", labelled("app", "web")),
	)
	if got := names(plan.Adopt); got != "stray " {
		t.Errorf("adopts %q", got)
	}
	if got := names(plan.Release); got != "relabelled " {
		t.Errorf("releases %q", got)
	}
	if plan.Create != 1 {
		t.Errorf("creates %d pods, want 1 (one kept, one adopted, three wanted)", plan.Create)
	}
}

func TestD21_DeletedOwnerClaimsNothing(t *testing.T) {
	rs := replicaSet("web", 3)
	rs.DeletionTimestamp = ptr(at(1))
	plan := planSet(t, rs, podOf(rs, "stray", orphan), podOf(rs, "relabelled", labelled("app", "x")), podOf(rs, "mine"))
	if len(plan.Adopt)+len(plan.Release)+plan.Create+len(plan.Delete) != 0 {
		t.Errorf("a deleted set acts: %+v", plan)
	}
	if plan.Status.Replicas != 1 {
		t.Errorf("status.replicas = %d, want 1", plan.Status.Replicas)
	}
}

func TestD21_PodHasControllerAndGeneratedName(t *testing.T) {
	p := NewPod(replicaSet("web", 1))
	ref := metav1.GetControllerOf(p)
	if ref == nil || ref.Kind != "ReplicaSet" || ref.APIVersion != "apps/v1" || !*ref.BlockOwnerDeletion || ref.UID != "uid-web" {
		t.Errorf("owner reference %+v", ref)
	}
	if p.GenerateName != "web-" || p.Name != "" {
		t.Errorf("name %q, generateName %q", p.Name, p.GenerateName)
	}
}

func TestD22_TerminatingAndFinishedPodsAreReplaced(t *testing.T) {
	rs := replicaSet("web", 3)
	plan := planSet(t, rs, podOf(rs, "a"), podOf(rs, "b", terminating), podOf(rs, "c", failed))
	if plan.Create != 2 || len(plan.Delete) != 0 {
		t.Errorf("creates %d, deletes %s; want 2 and none", plan.Create, names(plan.Delete))
	}
	if plan.Status.Replicas != 1 || *plan.Status.TerminatingReplicas != 1 {
		t.Errorf("status %+v", plan.Status)
	}
}

func TestD23_ScaleDownOrder(t *testing.T) {
	rs := replicaSet("web", 1)
	for _, c := range []struct {
		rule          string
		first, second *corev1.Pod
	}{
		{"unassigned first", podOf(rs, "z", unassigned), podOf(rs, "a", pending)},
		{"pending before running", podOf(rs, "z", pending), podOf(rs, "a", notReady)},
		{"not ready before ready", podOf(rs, "z", notReady, cost("100")), podOf(rs, "a", cost("-100"))},
		{"lower deletion cost first", podOf(rs, "z", cost("-1")), podOf(rs, "a", readyAt(50))},
		{"unreadable cost counts as 0", podOf(rs, "a", cost("much")), podOf(rs, "z", cost("1"))},
		{"doubled up first", podOf(rs, "z", onNode("full")), podOf(rs, "a", onNode("empty"), readyAt(50))},
		{"newest ready first", podOf(rs, "z", readyAt(50)), podOf(rs, "a", restarted(9))},
		{"more restarts first", podOf(rs, "z", restarted(1)), podOf(rs, "a", createdAt(50))},
		{"youngest first", podOf(rs, "z", createdAt(50)), podOf(rs, "a")},
		{"by name at last", podOf(rs, "a"), podOf(rs, "z")},
	} {
		related := []*corev1.Pod{c.first, c.second, podOf(rs, "r", onNode("full"))}
		for _, pods := range [][]*corev1.Pod{{c.first, c.second}, {c.second, c.first}} {
			if got := victims(pods, related, 1); len(got) != 1 || got[0] != c.first {
				t.Errorf("%s: deletes %s", c.rule, names(got))
			}
		}
	}
}

func TestD24_Status(t *testing.T) {
	rs := replicaSet("web", 4)
	rs.Spec.Template.Labels = map[string]string{"app": "web", "v": "2"}
	plan := planSet(t, rs, podOf(rs, "a"), podOf(rs, "b", notReady), podOf(rs, "c", labelled("app", "web")), podOf(rs, "d", unassigned))
	s := plan.Status
	if s.Replicas != 4 || s.ReadyReplicas != 2 || s.AvailableReplicas != 2 || s.FullyLabeledReplicas != 3 || s.ObservedGeneration != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestD24_ReplicaFailure(t *testing.T) {
	conds := WithReplicaFailure(nil, "FailedCreate", errors.New("no quota"), epoch)
	if len(conds) != 1 || conds[0].Reason != "FailedCreate" || conds[0].Message != "no quota" || conds[0].Status != corev1.ConditionTrue {
		t.Fatalf("conditions %+v", conds)
	}
	again := WithReplicaFailure(conds, "FailedCreate", errors.New("still no quota"), epoch.Add(time.Hour))
	if len(again) != 1 || !again[0].LastTransitionTime.Equal(&conds[0].LastTransitionTime) {
		t.Errorf("transition time moved: %+v", again)
	}
	if got := WithReplicaFailure(again, "", nil, epoch); len(got) != 0 {
		t.Errorf("condition stays: %+v", got)
	}
}

func TestD26_AvailableAfterMinReadySeconds(t *testing.T) {
	rs := replicaSet("web", 2)
	rs.Spec.MinReadySeconds = 30
	plan := planSet(t, rs, podOf(rs, "old", readyAt(0)), podOf(rs, "new", readyAt(50)))
	if plan.Status.ReadyReplicas != 2 || plan.Status.AvailableReplicas != 1 || plan.Recheck != 20*time.Second {
		t.Errorf("status %+v, recheck %s; want 1 available and 20s", plan.Status, plan.Recheck)
	}
}
