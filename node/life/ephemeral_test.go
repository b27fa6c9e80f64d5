package life

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestEphemeralRunsOnce: a container that was added to a running pod is started once, whatever the pod's restart policy, and its end is
// no reason to wait.
func TestEphemeralRunsOnce(t *testing.T) {
	add := func(v *View) {
		v.Pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: "i"}}}
	}
	v := view("a").sandbox().runs("a").with(add)
	if p := Next(*v); len(p.Actions) != 1 || p.Actions[0].Kind != Start || p.Actions[0].Name != "d" {
		t.Errorf("added: %+v", p)
	}
	v.ended("d", 1)
	if p := Next(*v); len(p.Actions) != 0 || !p.Wake.IsZero() {
		t.Errorf("ended: %+v", p)
	}
	s := Status(*v)
	if len(s.EphemeralContainerStatuses) != 1 || s.EphemeralContainerStatuses[0].State.Terminated == nil || s.Phase != corev1.PodRunning {
		t.Errorf("status %+v", s)
	}
}
