package registry_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const sized = "nodeName: n1, containers: [{name: a, image: x, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}]"

// TestResize: what containers ask for is changed through the resize subresource only, which changes nothing else, and makes a
// generation; upstream's rules say what may change.
func TestResize(t *testing.T) {
	s := start(t)
	s.node(t, "n1")
	pods := s.CoreV1().Pods("default")
	pod := s.pod(t, "a", sized)
	generation := pod.Generation

	direct := pod.DeepCopy()
	direct.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("150m")
	if _, err := pods.Update(t.Context(), direct, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "pod updates may not change fields other than") {
		t.Errorf("an update of the pod itself: %v", err)
	}
	direct.Spec.Containers[0].Image, direct.Labels = "other", map[string]string{"a": "b"}
	pod, err := pods.UpdateResize(t.Context(), "a", direct, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c := pod.Spec.Containers[0]; c.Image != "x" || c.Resources.Requests.Cpu().String() != "150m" || pod.Generation != generation+1 {
		t.Errorf("image %s, cpu %s, generation %d", c.Image, c.Resources.Requests.Cpu(), pod.Generation)
	}
	for _, test := range []struct {
		want   string
		change func(*corev1.PodSpec)
	}{
		{"Pod QOS Class may not change as a result of resizing", func(s *corev1.PodSpec) {
			s.Containers[0].Resources = corev1.ResourceRequirements{}
		}},
		{"only cpu and memory resources are mutable", func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests[corev1.ResourceEphemeralStorage] = resource.MustParse("1Gi")
		}},
		{"must be less than or equal to cpu limit of 200m", func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("300m")
		}},
		{"containers may not be renamed or reordered on resize", func(s *corev1.PodSpec) { s.Containers[0].Name = "b" }},
	} {
		changed := pod.DeepCopy()
		test.change(&changed.Spec)
		if _, err := pods.UpdateResize(t.Context(), "a", changed, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("\n got %v\nwant %s", err, test.want)
		}
	}
	s.must(t, "", "patch", "pod", "a", "--subresource", "resize", "-p", `{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"120m"}}}]}}`)
}

// TestResizeAndTheNode: what a node does not have, or cannot do, is refused at once.
func TestResizeAndTheNode(t *testing.T) {
	s := start(t)
	s.pod(t, "a", sized)
	patch := `{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"100"},"requests":{"cpu":"100"}}}]}}`
	if got := s.refused(t, "", "patch", "pod", "a", "--subresource", "resize", "-p", patch); !strings.Contains(got, `node "n1" not found`) {
		t.Error(got)
	}
	s.node(t, "n1")
	s.eventuallyRefused(t, "cpu, requested: 100000, allocatable: 2000", "patch", "pod", "a", "--subresource", "resize", "-p", patch)
	whole := `{"spec":{"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}}}}`
	s.pod(t, "b", "resources: {requests: {cpu: 500m}, limits: {cpu: 1}}, "+sized)
	if got := s.refused(t, "", "patch", "pod", "b", "--subresource", "resize", "-p", whole); !strings.Contains(got, "pod update requires features") {
		t.Error(got)
	}
}

// node makes a node of two processors.
func (s *server) node(t *testing.T, name string) {
	t.Helper()
	node, err := s.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	if _, err := s.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestResourcesOfAWholePod: they are taken, with upstream's defaults and rules.
func TestResourcesOfAWholePod(t *testing.T) {
	s := start(t)
	pod := s.pod(t, "a", "resources: {limits: {cpu: 1, memory: 1Gi}}, containers: [{name: a, image: x}]")
	if r := pod.Spec.Resources; r == nil || r.Requests.Cpu().String() != "1" || pod.Status.QOSClass != corev1.PodQOSGuaranteed {
		t.Errorf("%+v, %s", r, pod.Status.QOSClass)
	}
	for spec, want := range map[string]string{
		"resources: {requests: {cpu: 1}, limits: {cpu: 500m}}, containers: [{name: a, image: x}]":         "must be less than or equal to cpu limit of 500m",
		"resources: {requests: {example.com/gpu: 1}}, containers: [{name: a, image: x}]":                  `Unsupported value: "example.com/gpu"`,
		"resources: {limits: {cpu: 1}}, containers: [{name: a, image: x, resources: {limits: {cpu: 2}}}]": "must be less than or equal to pod limits of 1",
	} {
		if got := s.refused(t, podManifest(spec), "create", "-f", "-"); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", spec, got, want)
		}
	}
}
