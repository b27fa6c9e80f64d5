package admission_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// start runs the API server and makes the namespace "n".
func start(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return client
}

// pod is one that runs an image, changed by with.
func pod(name string, with ...func(*corev1.PodSpec)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	for _, w := range with {
		w(&p.Spec)
	}
	return p
}

func create(t *testing.T, client kubernetes.Interface, p *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	return client.CoreV1().Pods("n").Create(t.Context(), p, metav1.CreateOptions{})
}

// refused checks that err says so.
func refused(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually waits until try succeeds: what plugins decide by comes to them by a watch.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	apitest.Eventually(t, func() string {
		if err := try(); err != nil {
			return err.Error()
		}
		return ""
	})
}

func quantities(of ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(of); i += 2 {
		list[corev1.ResourceName(of[i])] = resource.MustParse(of[i+1])
	}
	return list
}

func TestLimitRange(t *testing.T) {
	client := start(t)
	limits := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "l"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type: corev1.LimitTypeContainer, Default: quantities("cpu", "500m"), DefaultRequest: quantities("cpu", "100m", "memory", "8Mi"), Max: quantities("cpu", "2"),
	}}}}
	must[*corev1.LimitRange](t)(client.CoreV1().LimitRanges("n").Create(t.Context(), limits, metav1.CreateOptions{}))
	eventually(t, func() error {
		big := pod("big", func(s *corev1.PodSpec) { s.Containers[0].Resources.Limits = quantities("cpu", "3") })
		_, err := client.CoreV1().Pods("n").Create(t.Context(), big, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), `pods "big" is forbidden: maximum cpu usage per Container is 2, but limit is 3`) {
			return refusal(err)
		}
		return nil
	})
	p := must[*corev1.Pod](t)(create(t, client, pod("p")))
	got := p.Spec.Containers[0].Resources
	if got.Limits.Cpu().String() != "500m" || got.Requests.Cpu().String() != "100m" || got.Requests.Memory().String() != "8Mi" {
		t.Errorf("resources %v", got)
	}
	if p.Annotations["kubernetes.io/limit-ranger"] == "" {
		t.Errorf("annotations %v", p.Annotations)
	}
	limits.Name, limits.Spec.Limits[0].Default = "wrong", quantities("cpu", "5")
	_, err := client.CoreV1().LimitRanges("n").Create(t.Context(), limits, metav1.CreateOptions{})
	refused(t, err, "default value 5 is greater than max value 2")
}

func refusal(err error) error {
	if err == nil {
		return context.DeadlineExceeded
	}
	return err
}

func TestPriorityClass(t *testing.T) {
	client := start(t)
	classes := client.SchedulingV1().PriorityClasses()
	for name, value := range map[string]int32{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000} {
		if class := must[*schedulingv1.PriorityClass](t)(classes.Get(t.Context(), name, metav1.GetOptions{})); class.Value != value {
			t.Errorf("%s has value %d", name, class.Value)
		}
		refused(t, classes.Delete(t.Context(), name, metav1.DeleteOptions{}), "this is a system priority class and cannot be deleted")
	}
	never := corev1.PreemptNever
	must[*schedulingv1.PriorityClass](t)(classes.Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000, PreemptionPolicy: &never}, metav1.CreateOptions{}))
	high := func(s *corev1.PodSpec) { s.PriorityClassName = "high" }
	eventually(t, func() error {
		_, err := client.CoreV1().Pods("n").Create(t.Context(), pod("p", high), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	p := must[*corev1.Pod](t)(create(t, client, pod("p", high)))
	if *p.Spec.Priority != 1000 || *p.Spec.PreemptionPolicy != never {
		t.Errorf("priority %d, policy %s", *p.Spec.Priority, *p.Spec.PreemptionPolicy)
	}
	must[*schedulingv1.PriorityClass](t)(classes.Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "usual"}, Value: 7, GlobalDefault: true}, metav1.CreateOptions{}))
	eventually(t, func() error {
		second := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "second"}, Value: 8, GlobalDefault: true}
		_, err := classes.Create(t.Context(), second, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "PriorityClass usual is already marked as default. Only one default can exist") {
			return refusal(err)
		}
		return nil
	})
	if p := must[*corev1.Pod](t)(create(t, client, pod("q"))); p.Spec.PriorityClassName != "usual" || *p.Spec.Priority != 7 {
		t.Errorf("class %q, priority %d", p.Spec.PriorityClassName, *p.Spec.Priority)
	}
}

func TestRuntimeClass(t *testing.T) {
	client := start(t)
	with := func(s *corev1.PodSpec) { name := "kata"; s.RuntimeClassName = &name }
	_, err := create(t, client, pod("p", with))
	refused(t, err, `pods "p" is forbidden: pod rejected: RuntimeClass "kata" not found`)
	class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata"}, Handler: "kata",
		Overhead:   &nodev1.Overhead{PodFixed: quantities("memory", "64Mi")},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"kata": "yes"}}}
	must[*nodev1.RuntimeClass](t)(client.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{}))
	p := must[*corev1.Pod](t)(create(t, client, pod("p", with)))
	if p.Spec.Overhead.Memory().String() != "64Mi" || p.Spec.NodeSelector["kata"] != "yes" {
		t.Errorf("overhead %v, selector %v", p.Spec.Overhead, p.Spec.NodeSelector)
	}
}

func TestPodSecurity(t *testing.T) {
	client := start(t)
	label := func(mode, level string) error {
		patch := `{"metadata":{"labels":{"pod-security.kubernetes.io/` + mode + `":"` + level + `"}}}`
		_, err := client.CoreV1().Namespaces().Patch(t.Context(), "n", "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
		return err
	}
	refused(t, label("enforce", "strict"), `must be one of privileged, baseline, restricted`)
	if err := label("enforce", "baseline"); err != nil {
		t.Fatal(err)
	}
	yes := true
	privileged := func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes} }
	_, err := create(t, client, pod("p", privileged))
	refused(t, err, `pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)`)
	must[*corev1.Pod](t)(create(t, client, pod("p")))
}

func TestTaintAndTolerations(t *testing.T) {
	client := start(t)
	node := must[*corev1.Node](t)(client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{}))
	if len(node.Spec.Taints) != 1 || node.Spec.Taints[0].Key != corev1.TaintNodeNotReady {
		t.Errorf("taints %v", node.Spec.Taints)
	}
	p := must[*corev1.Pod](t)(create(t, client, pod("p")))
	if len(p.Spec.Tolerations) != 2 || *p.Spec.Tolerations[0].TolerationSeconds != 300 {
		t.Errorf("tolerations %v", p.Spec.Tolerations)
	}
}
