package plan

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/ingress"
)

func node(ready corev1.ConditionStatus, addresses ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}, Labels: map[string]string{}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

func TestI47_Addresses(t *testing.T) {
	off, excluded := node(corev1.ConditionTrue, "192.0.2.3"), node(corev1.ConditionTrue, "192.0.2.4")
	off.Annotations[api.AnnotationNoIngress] = "port 80 is taken"
	excluded.Labels[corev1.LabelNodeExcludeBalancers] = ""
	outside := node(corev1.ConditionTrue, "192.0.2.10")
	outside.Status.Addresses = append(outside.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "198.51.100.1"}, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "a"})
	for name, test := range map[string]struct {
		nodes []*corev1.Node
		want  string
	}{
		"none":           {nil, "[]"},
		"sorted":         {[]*corev1.Node{node(corev1.ConditionTrue, "192.0.2.20", "2001:db8::2"), node(corev1.ConditionTrue, "192.0.2.3", "2001:db8::1")}, "[192.0.2.3 192.0.2.20 2001:db8::1 2001:db8::2]"},
		"not ready":      {[]*corev1.Node{node(corev1.ConditionUnknown, "192.0.2.1"), node(corev1.ConditionFalse, "192.0.2.2"), node(corev1.ConditionTrue, "192.0.2.3")}, "[192.0.2.3]"},
		"does not serve": {[]*corev1.Node{off, excluded, node(corev1.ConditionTrue, "192.0.2.1")}, "[192.0.2.1]"},
		"external":       {[]*corev1.Node{outside}, "[192.0.2.10]"},
		"twice":          {[]*corev1.Node{node(corev1.ConditionTrue, "192.0.2.1"), node(corev1.ConditionTrue, "192.0.2.1")}, "[192.0.2.1]"},
	} {
		if got := fmt.Sprint(Addresses(test.nodes)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	status := Status(Addresses([]*corev1.Node{node(corev1.ConditionTrue, "192.0.2.1", "2001:db8::1")}))
	if len(status.Ingress) != 2 || status.Ingress[0].IP != "192.0.2.1" || status.Ingress[1].IP != "2001:db8::1" {
		t.Errorf("status %v", status)
	}
}

func TestNews(t *testing.T) {
	missing := ingress.Finding{Code: "ServiceMissing", Where: "spec.rules[0]", Sentence: "there is no Service web", Remedy: "Create it"}
	other := missing
	other.Where = "spec.rules[1]"
	var m Memory
	says := func(what, want string, before func(string, string) bool, found ...ingress.Finding) {
		t.Helper()
		got := ""
		for _, f := range m.News(found, before) {
			got += f.Where + " "
		}
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	never := func(string, string) bool { return false }
	says("at first", "spec.rules[0] ", never, missing, missing)
	says("still", "", never, missing)
	says("another", "spec.rules[1] ", never, missing, other)
	says("none", "", never)
	says("again", "spec.rules[0] ", never, missing)
	m = nil
	says("said in another life", "spec.rules[1] ", func(reason, message string) bool { return reason == missing.Code && message == missing.Message() }, missing, other)
	says("and not said again", "", never, missing, other)
}

func TestKind(t *testing.T) {
	for level, want := range map[ingress.Level]string{ingress.Wrong: "Warning", ingress.Unsupported: "Warning", ingress.Differs: "Normal"} {
		if got := Kind(ingress.Finding{Level: level}); got != want {
			t.Errorf("%s: %s, want %s", level, got, want)
		}
	}
}
