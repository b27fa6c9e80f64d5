package node

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// TestRestartRules: containers with rules about their own restarts in a pod that restarts nothing (KEP-5307, KEP-5532).
func TestRestartRules(t *testing.T) {
	b := newBench(t)
	rule := func(action corev1.ContainerRestartRuleAction, code int32) []corev1.ContainerRestartRule {
		return []corev1.ContainerRestartRule{{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
			Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{code},
		}}}
	}
	// ruled is a pod that fails once with 42, and with 7 after that.
	ruled := func(name string, action corev1.ContainerRestartRuleAction) *corev1.Pod {
		p := pod(name, "second", "/v/mark", "42", "7")
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		c := &p.Spec.Containers[0]
		c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		c.RestartPolicy, c.RestartPolicyRules = ptr.To(corev1.ContainerRestartPolicyNever), rule(action, 42)
		return p
	}
	failed := func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed }

	b.create(ruled("one", corev1.ContainerRestartRuleActionRestart))
	got := b.await("one", "failed", failed)
	if s := got.Status.ContainerStatuses[0]; s.RestartCount != 1 || s.State.Terminated.ExitCode != 7 || s.LastTerminationState.Terminated.ExitCode != 42 {
		t.Errorf("got %+v", s)
	}

	p := ruled("all", corev1.ContainerRestartRuleActionRestartAllContainers)
	p.Spec.Containers[0].Args = []string{"second", "/v/mark", "42", "7", "1s"} // the other one runs by then
	p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: appImage, Args: []string{"id"}}}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other", Image: appImage, Args: []string{"stubborn"}})
	b.create(p)
	got = b.await("all", "begun anew", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 2 && s[0].RestartCount == 1 && s[0].State.Terminated != nil && s[1].RestartCount == 1 && s[1].State.Running != nil
	})
	if s := got.Status.InitContainerStatuses[0]; s.RestartCount != 1 || s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
		t.Errorf("init container: %+v", s)
	}
	if got.Status.Phase != corev1.PodRunning || conditionOf(got, corev1.AllContainersRestarting) != corev1.ConditionFalse || conditionOf(got, corev1.PodInitialized) != corev1.ConditionTrue {
		t.Errorf("phase %s, conditions %+v", got.Status.Phase, got.Status.Conditions)
	}
	if s := got.Status.ContainerStatuses[1].LastTerminationState.Terminated; s == nil || s.ExitCode != 137 {
		t.Errorf("the other container ended with %+v, want 137", s)
	}
}

// TestAnotherImage: a container whose image is changed is started again, it alone, also where nothing else would have it started again.
func TestAnotherImage(t *testing.T) {
	b := newBench(t)
	p := pod("web", "wait")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other", Image: appImage, Args: []string{"wait"}})
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "broken", Image: "127.0.0.1:1/nothing:1"})
	p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	b.create(p)
	b.await("web", "backing off", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 3 && s[0].State.Running != nil && s[1].State.Running != nil && s[2].State.Waiting != nil && s[2].State.Waiting.Reason == "ImagePullBackOff"
	})
	change := func(name, image string) {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": name, "image": image}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.CoreV1().Pods("default").Patch(b.ctx, "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	change("c", otherImage)
	change("broken", otherImage)
	got := b.await("web", "all run", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 3 && s[0].State.Running != nil && s[0].RestartCount == 1 && s[1].State.Running != nil && s[2].State.Terminated == nil && s[2].State.Running != nil
	})
	if s := got.Status.ContainerStatuses; s[1].RestartCount != 0 || s[2].RestartCount != 0 {
		t.Errorf("restarts: %d of other, %d of broken", s[1].RestartCount, s[2].RestartCount)
	}
	b.awaitEvent("web", "Killing: Container c definition changed, will be restarted")
}

// TestNameAndFileOfVariables: a host name of a pod's own, and variables from a file that an init container has written.
func TestNameAndFileOfVariables(t *testing.T) {
	b := newBench(t)
	p := pod("named", "env", "A")
	p.Spec.HostnameOverride = ptr.To("db.example.com")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}}
	p.Spec.InitContainers = []corev1.Container{{Name: "who", Image: appImage, Args: []string{"id"}}, {
		Name: "writer", Image: appImage, Args: []string{"write", "/v/vars", "A='from a file'\n"}, VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
	}}
	from := func(path string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: path, Key: "A"}}}}
	}
	p.Spec.Containers[0].Env = from("vars")
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "lacking", Image: appImage, Args: []string{"wait"}, Env: from("nothing")})
	b.create(p)
	got := b.await("named", "one runs and one waits", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 2 && s[0].State.Running != nil && s[1].State.Waiting != nil && s[1].State.Waiting.Reason == "CreateContainerConfigError"
	})
	if m := got.Status.ContainerStatuses[1].State.Waiting.Message; m != `couldn't parse env file: there is no file "nothing" in volume "v"` {
		t.Errorf("message %q", m)
	}
	b.until("the variable is printed", func() bool { return b.log("named", corev1.PodLogOptions{Container: "c"}) == "A=from a file\n" })
	if out := b.log("named", corev1.PodLogOptions{Container: "who"}); out != "0 0\ndb.example.com\n" {
		t.Errorf("got %q", out)
	}
}
