package scheduler_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// urgent adds a pod of a priority class with the value of the pod's priority.
func urgent(t testing.TB, client kubernetes.Interface, name, cpu string, value int32, change ...func(*corev1.Pod)) {
	t.Helper()
	class := fmt.Sprint("class", value)
	_, err := client.SchedulingV1().PriorityClasses().Get(t.Context(), class, metav1.GetOptions{})
	if err != nil {
		if _, err = client.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Value: value}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{PriorityClassName: class,
		Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}}}
	for _, f := range change {
		f(p)
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// seen waits until the pod is as wanted.
func seen(t testing.TB, client kubernetes.Interface, name, what string, is func(*corev1.Pod) bool) {
	t.Helper()
	apitest.Eventually(t, func() string {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !is(p) {
			return fmt.Sprintf("pod %s is not %s: node %q, nominated %q, %+v", name, what, p.Spec.NodeName, p.Status.NominatedNodeName, p.Status.Conditions)
		}
		return ""
	})
}

func remove(t testing.TB, client kubernetes.Interface, name string) {
	t.Helper()
	now := int64(0)
	if err := client.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

// A pod of a higher priority has one of a lower leave with its own grace period, waits for it on the node that it is nominated for, also by
// way of a scheduler that ends meanwhile, and goes there; what waits on a node that is gone goes elsewhere.
func TestPreemptionToItsEnd(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, client, nil)
	addNode(t, client, "node1", "2")
	urgent(t, client, "low", "2", 10)
	placed(t, client, "low")
	urgent(t, client, "high", "1", 100)
	seen(t, client, "low", "leaving to make room", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler {
				return p.DeletionTimestamp != nil && *p.DeletionGracePeriodSeconds == 30
			}
		}
		return false
	})
	seen(t, client, "high", "waiting for node1", func(p *corev1.Pod) bool { return p.Status.NominatedNodeName == "node1" && p.Spec.NodeName == "" })
	high, err := client.CoreV1().Pods("default").Get(t.Context(), "high", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events(t, client, fmt.Sprintf("Preempted by pod %s on node node1", high.UID))
	stop()
	start(t, client, nil)
	urgent(t, client, "middle", "2", 50) // may not take the room
	refused(t, client, "middle", "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu.")
	remove(t, client, "low")
	if n := placed(t, client, "high"); n != "node1" {
		t.Errorf("high on %s", n)
	}
	addNode(t, client, "node2", "2")
	if n := placed(t, client, "middle"); n != "node2" {
		t.Errorf("middle on %s", n)
	}
	urgent(t, client, "top", "2", 1000)
	seen(t, client, "top", "nominated", func(p *corev1.Pod) bool { return p.Status.NominatedNodeName == "node2" })
	if err := client.CoreV1().Nodes().Delete(t.Context(), "node2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	addNode(t, client, "node3", "2")
	if n := placed(t, client, "top"); n != "node3" {
		t.Errorf("top on %s", n)
	}
}

// Pods that fit nowhere stand in nobody's way, and are told once.
func TestManyThatFitNowhere(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	addNode(t, client, "node1", "2")
	start(t, client, nil)
	const many = 200
	for i := range many {
		addPod(t, client, fmt.Sprint("huge", i), "64")
	}
	why := "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	for i := range many {
		refused(t, client, fmt.Sprint("huge", i), why)
	}
	for i := range 20 { // each leaves room when it goes
		urgent(t, client, fmt.Sprint("small", i), "100m", 10)
		placed(t, client, fmt.Sprint("small", i))
		remove(t, client, fmt.Sprint("small", i))
	}
	list, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedScheduling"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) > many {
		t.Errorf("%d Events about %d pods", len(list.Items), many)
	}
}

// A claim that waits for its first pod is told the node, and the pod is bound once the claim is: here by hand, as a provisioner would.
func TestClaimsThatWaitForTheirPod(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	addNode(t, client, "node1", "2")
	start(t, client, nil)
	if _, err := client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Provisioner: "example.com/p",
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	urgent(t, client, "user", "1", 10, func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	})
	refused(t, client, "user", `0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.`)
	claims := client.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: new("later"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		c, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Annotations["volume.kubernetes.io/selected-node"] != "node1" {
			return fmt.Sprintf("the claim is told %v", c.Annotations)
		}
		c.Spec.VolumeName = "made"
		c.Annotations["pv.kubernetes.io/bind-completed"] = "yes"
		if _, err := claims.Update(t.Context(), c, metav1.UpdateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	if n := placed(t, client, "user"); n != "node1" {
		t.Errorf("user on %s", n)
	}
}
