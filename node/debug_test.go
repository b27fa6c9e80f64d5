package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestEphemeralContainers adds containers to a running pod, as kubectl debug does.
func TestEphemeralContainers(t *testing.T) {
	b := newBench(t)
	b.create(pod("web", "serve"))
	b.await("web", "ready", ready)
	added := func(name, target string, args ...string) corev1.EphemeralContainer {
		return corev1.EphemeralContainer{TargetContainerName: target, EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: appImage, Args: args}}
	}
	b.until("they are added", func() bool { // the agent writes the pod too
		p := b.get("web")
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
			added("look", "c", "cat", "/proc/1/cmdline"), added("alone", "", "cat", "/proc/1/cmdline"), added("stay", "c", "wait"), {EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "broken", Image: appImage, Command: []string{"/nothing"}}},
		}
		_, err := b.client.CoreV1().Pods("default").UpdateEphemeralContainers(b.ctx, "web", p, metav1.UpdateOptions{})
		return err == nil
	})
	got := b.await("web", "all of them were started", func(p *corev1.Pod) bool {
		s := p.Status.EphemeralContainerStatuses
		return len(s) == 4 && s[0].State.Terminated != nil && s[1].State.Terminated != nil && s[2].State.Running != nil && s[3].State.Terminated != nil
	})
	if !ready(got) || got.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod itself: %+v", got.Status)
	}
	for name, want := range map[string]string{"look": "serve", "alone": "cat"} {
		if text := b.log("web", corev1.PodLogOptions{Container: name}); !strings.Contains(text, want) {
			t.Errorf("%s sees %q as its first process, want %s", name, text, want)
		}
	}
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "web", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	b.gone("web")
}
