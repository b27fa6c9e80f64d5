package node

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

func amounts(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// resize asks for other resources of containers of a pod, by name. The patch has them in the pod's order: another would be a new order.
func (b *bench) resize(name string, resources map[string]corev1.ResourceRequirements) {
	b.t.Helper()
	pod, err := b.client.CoreV1().Pods("default").Get(b.ctx, name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	var containers []any
	for _, c := range pod.Spec.Containers {
		if r, ok := resources[c.Name]; ok {
			containers = append(containers, map[string]any{"name": c.Name, "resources": r})
		}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": containers}})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.client.CoreV1().Pods("default").Patch(b.ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); err != nil {
		b.t.Fatal(err)
	}
}

// resized: the newest version of the pod is applied, and nothing waits.
func resized(p *corev1.Pod) bool {
	return p.Status.ObservedGeneration == p.Generation && api.PodCondition(p.Status.Conditions, corev1.PodResizePending) == nil &&
		api.PodCondition(p.Status.Conditions, corev1.PodResizeInProgress) == nil && p.Status.ContainerStatuses[0].Resources.Limits.Memory().Equal(*p.Spec.Containers[0].Resources.Limits.Memory())
}

// TestResizeInPlace: the resources of running containers change in the kernel; a container that asks for it begins anew for that (KEP-1287).
func TestResizeInPlace(t *testing.T) {
	b := newBench(t)
	p := pod("sized", "wait")
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: amounts("10m", "16Mi"), Limits: amounts("100m", "64Mi")}
	again := corev1.Container{Name: "again", Image: appImage, Args: []string{"wait"}, Resources: *p.Spec.Containers[0].Resources.DeepCopy()}
	again.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer}}
	p.Spec.Containers = append(p.Spec.Containers, again)
	one := int64(1)
	p.Spec.TerminationGracePeriodSeconds = &one
	b.create(p)
	got := b.await("sized", "ready", ready)
	if s := got.Status.ContainerStatuses[0]; s.Resources == nil || !s.Resources.Limits.Memory().Equal(resource.MustParse("64Mi")) || !s.AllocatedResources.Cpu().Equal(resource.MustParse("10m")) {
		t.Errorf("reported %+v", s)
	}
	more := corev1.ResourceRequirements{Requests: amounts("20m", "16Mi"), Limits: amounts("200m", "128Mi")}
	b.resize("sized", map[string]corev1.ResourceRequirements{"c": more, "again": more})
	got = b.await("sized", "resized", func(p *corev1.Pod) bool {
		return resized(p) && p.Status.ContainerStatuses[1].RestartCount == 1 && p.Status.ContainerStatuses[1].State.Running != nil
	})
	for i, restarts := range []int32{0, 1} {
		s := got.Status.ContainerStatuses[i]
		if s.RestartCount != restarts || !s.Resources.Limits.Memory().Equal(resource.MustParse("128Mi")) || !s.AllocatedResources.Cpu().Equal(resource.MustParse("20m")) {
			t.Errorf("reported %+v", s)
		}
		if limit := b.memoryLimit(got, s.ContainerID); limit != "134217728" {
			t.Errorf("%s: the kernel has a limit of %q", s.Name, limit)
		}
	}
	b.awaitEvent("sized", `ResizeStarted: Pod resize started: {"containers":[{"name":"c"`)
	b.awaitEvent("sized", "Killing: Container again resize requires restart")
	b.awaitEvent("sized", "ResizeCompleted: Pod resize completed: ")

	t.Run("what the node does not have now", func(t *testing.T) {
		node, err := b.client.CoreV1().Nodes().Get(b.ctx, "n1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all := node.Status.Allocatable.Memory().DeepCopy()
		all.Sub(resource.MustParse("1Gi"))
		big := pod("big", "wait")
		big.Spec.TerminationGracePeriodSeconds = &one
		big.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: all}
		b.create(big)
		b.await("big", "running", running)
		b.resize("sized", map[string]corev1.ResourceRequirements{"c": {Requests: amounts("20m", "2Gi"), Limits: amounts("200m", "3Gi")}})
		got := b.await("sized", "waiting", func(p *corev1.Pod) bool { return api.PodCondition(p.Status.Conditions, corev1.PodResizePending) != nil })
		c := api.PodCondition(got.Status.Conditions, corev1.PodResizePending)
		if c.Reason != corev1.PodReasonDeferred || !strings.HasPrefix(c.Message, "Node didn't have enough resource: memory, requested: 21") || c.ObservedGeneration != got.Generation {
			t.Errorf("condition %+v", c)
		}
		b.awaitEvent("sized", "ResizeDeferred: Pod resize Deferred: ")
		b.stop()
		b.startAgent() // another agent knows what the pod has been given
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "big", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		got = b.await("sized", "resized", resized)
		if s := got.Status.ContainerStatuses[0]; s.RestartCount != 0 || !s.Resources.Requests.Memory().Equal(resource.MustParse("2Gi")) {
			t.Errorf("reported %+v", s)
		}
	})
	t.Run("less memory than is used", func(t *testing.T) {
		little := corev1.ResourceRequirements{Requests: amounts("20m", "16Ki"), Limits: amounts("200m", "32Ki")}
		b.resize("sized", map[string]corev1.ResourceRequirements{"c": little})
		got := b.await("sized", "not applied", func(p *corev1.Pod) bool {
			c := api.PodCondition(p.Status.Conditions, corev1.PodResizeInProgress)
			return c != nil && c.Reason == corev1.PodReasonError
		})
		if c := api.PodCondition(got.Status.Conditions, corev1.PodResizeInProgress); !strings.Contains(c.Message, "memory limit (32768) below current usage") {
			t.Errorf("condition %+v", c)
		}
		b.resize("sized", map[string]corev1.ResourceRequirements{"c": more})
		b.await("sized", "as before", resized)
	})
}

// TestResourcesOfAWholePod: what all containers of a pod have together is bounded, and changes in place (KEP-2837, KEP-5419).
func TestResourcesOfAWholePod(t *testing.T) {
	b := newBench(t)
	p := pod("whole", "wait")
	p.Spec.Resources = &corev1.ResourceRequirements{Requests: amounts("60m", "32Mi"), Limits: amounts("100m", "64Mi")}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other", Image: appImage, Args: []string{"wait"}, Resources: corev1.ResourceRequirements{Limits: amounts("50m", "24Mi")}})
	b.create(p)
	got := b.await("whole", "ready", ready)
	if got.Status.QOSClass != corev1.PodQOSBurstable || got.Status.Resources == nil || !got.Status.AllocatedResources.Cpu().Equal(resource.MustParse("60m")) {
		t.Errorf("class %s, resources %+v, allocated %+v", got.Status.QOSClass, got.Status.Resources, got.Status.AllocatedResources)
	}
	limits := func(want ...string) {
		t.Helper()
		for i, id := range []string{"", got.Status.ContainerStatuses[0].ContainerID, got.Status.ContainerStatuses[1].ContainerID} {
			if limit := b.memoryLimit(got, id); limit != want[i] {
				t.Errorf("%q has a limit of %s, want %s", id, limit, want[i])
			}
		}
	}
	limits("67108864", "67108864", "25165824") // one without a limit of its own has the pod's
	patch := []byte(`{"spec":{"resources":{"limits":{"memory":"128Mi"},"requests":{"cpu":"70m"}}}}`)
	if _, err := b.client.CoreV1().Pods("default").Patch(b.ctx, "whole", types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); err != nil {
		t.Fatal(err)
	}
	got = b.await("whole", "resized", func(p *corev1.Pod) bool {
		return p.Status.ObservedGeneration == 2 && p.Status.Resources.Limits.Memory().Equal(resource.MustParse("128Mi")) && api.PodCondition(p.Status.Conditions, corev1.PodResizeInProgress) == nil
	})
	limits("134217728", "134217728", "25165824")
}

// memoryLimit is what the kernel has for a container, by its id in the status.
func (b *bench) memoryLimit(pod *corev1.Pod, id string) string {
	b.t.Helper()
	_, id, _ = strings.Cut(id, "//")
	group := fmt.Sprintf("%s/pod%s/%s", b.containerd.CgroupRoot, pod.UID, id)
	for _, path := range []string{"/sys/fs/cgroup/memory" + group + "/memory.limit_in_bytes", "/sys/fs/cgroup" + group + "/memory.max"} {
		if text, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	b.t.Fatalf("the group %s has no limit of memory", group)
	return ""
}
