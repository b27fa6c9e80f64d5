package node

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// TestR32_GatesSurviveAStatusPatch: a condition that another client wrote after the node last saw the pod is kept.
func TestR32_GatesSurviveAStatusPatch(t *testing.T) {
	from := corev1.PodStatus{Phase: corev1.PodPending, PodIP: "10.1.1.1", PodIPs: []corev1.PodIP{{IP: "10.1.1.1"}}, Reason: "old",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}}
	to := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.1.2", PodIPs: []corev1.PodIP{{IP: "10.1.1.2"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	patch, err := statusPatch("u", &from, &to)
	if err != nil {
		t.Fatal(err)
	}
	stored := from.DeepCopy()
	stored.Conditions = append(stored.Conditions, corev1.PodCondition{Type: "x/gate", Status: corev1.ConditionTrue})
	before, err := json.Marshal(corev1.Pod{Status: *stored})
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.Pod
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	to.Conditions = append(to.Conditions, corev1.PodCondition{Type: "x/gate", Status: corev1.ConditionTrue})
	if !reflect.DeepEqual(got.Status, to) || got.UID != "u" {
		t.Errorf("got %+v (uid %q), want %+v", got.Status, got.UID, to)
	}
}
