package status

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A node that is ready has a row that says where it is, which pods' addresses it has and which containerd runs them.
func TestRowOfANode(t *testing.T) {
	var n corev1.Node
	n.Name, n.Spec.PodCIDR = "n1", "10.244.0.0/24"
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}
	n.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.4.2"
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	want := Row{Name: "node n1", State: "ready", Detail: "10.0.0.1, 10.244.0.0/24, containerd 2.4.2", OK: true}
	if got := nodeStatus(n); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	n.Status.Conditions[0].Status, n.Status.Conditions[0].Message = corev1.ConditionFalse, "no network"
	want = Row{Name: "node n1", State: "not ready", Detail: "10.0.0.1, no network"}
	if got := nodeStatus(n); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
