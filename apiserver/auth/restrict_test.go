package auth

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
)

func TestNodeRestriction(t *testing.T) {
	pod := func(node string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Spec: corev1.PodSpec{NodeName: node}}
	}
	node := func(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: name}}
	}
	pods, nodes := corev1.SchemeGroupVersion.WithResource("pods"), corev1.SchemeGroupVersion.WithResource("nodes")
	leases := coordinationv1.SchemeGroupVersion.WithResource("leases")
	tests := map[string]struct {
		u        user.Info
		op       admission.Operation
		resource schema.GroupVersionResource
		name     string
		obj, old runtime.Object
		want     bool
	}{
		"own pod's status":       {nodeUser("n1"), admission.Update, pods, "p", pod("n1"), pod("n1"), true},
		"another's pod":          {nodeUser("n1"), admission.Update, pods, "p", pod("n1"), pod("n2"), false},
		"unbound pod":            {nodeUser("n1"), admission.Update, pods, "p", pod(""), pod(""), false},
		"delete own pod":         {nodeUser("n1"), admission.Delete, pods, "p", nil, pod("n1"), true},
		"delete another's pod":   {nodeUser("n1"), admission.Delete, pods, "p", nil, pod("n2"), false},
		"delete an unknown pod":  {nodeUser("n1"), admission.Delete, pods, "p", nil, nil, false},
		"register itself":        {nodeUser("n1"), admission.Create, nodes, "", node("n1"), nil, true},
		"register another":       {nodeUser("n1"), admission.Create, nodes, "", node("n2"), nil, false},
		"own lease":              {nodeUser("n1"), admission.Create, leases, "", lease("n1"), nil, true},
		"another's lease":        {nodeUser("n1"), admission.Create, leases, "", lease("n2"), nil, false},
		"an administrator's pod": {member(user.SystemPrivilegedGroup), admission.Delete, pods, "p", nil, pod("n2"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := admission.NewAttributesRecord(tt.obj, tt.old, schema.GroupVersionKind{}, "", tt.name, tt.resource, "", tt.op, nil, false, tt.u)
			err := NewNodeRestriction().Validate(t.Context(), a, nil)
			if (err == nil) != tt.want {
				t.Errorf("error %v, want allowed=%v", err, tt.want)
			}
		})
	}
}
