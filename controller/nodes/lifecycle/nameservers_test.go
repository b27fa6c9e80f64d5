//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package lifecycle

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNameServers(t *testing.T) {
	node := func(name string, ready corev1.ConditionStatus, cidrs ...string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: cidrs},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	sets := NameServers([]*corev1.Node{
		node("n10", corev1.ConditionTrue, "10.244.9.0/24", "fd00:10:244:9::/64"), node("n2", corev1.ConditionTrue, "10.244.2.0/24"),
		node("n3", corev1.ConditionUnknown, "10.244.3.0/24"), node("n4", corev1.ConditionTrue),
	})
	text := func(list []corev1.EndpointAddress) string {
		var all []string
		for _, a := range list {
			all = append(all, a.IP+" "+*a.NodeName)
		}
		return strings.Join(all, ", ")
	}
	if len(sets) != 1 || text(sets[0].Addresses) != "10.244.2.1 n2, 10.244.9.1 n10, fd00:10:244:9::1 n10" || text(sets[0].NotReadyAddresses) != "10.244.3.1 n3" {
		t.Errorf("%+v", sets)
	}
	if got := NameServers([]*corev1.Node{node("n4", corev1.ConditionTrue)}); got != nil {
		t.Errorf("without a range: %+v", got)
	}
}
