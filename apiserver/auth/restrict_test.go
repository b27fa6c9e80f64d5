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

	"fairlead.dev/fairlead/api/claim"
)

// with is an object after a change.
func with[T runtime.Object](obj T, change func(T)) T {
	change(obj)
	return obj
}

func owned(n *corev1.Node) {
	n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "1"}}
}

func tainted(n *corev1.Node) {
	n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}}
}

func TestForbiddenLabels(t *testing.T) {
	for key, want := range map[string]bool{
		"team": false, "example.com/rack": false, "kubernetes.io/hostname": false, "topology.kubernetes.io/zone": false, "node.kubernetes.io/instance-type": false,
		"node.kubernetes.io/anything": false, "sub.node.kubernetes.io/x": false, "kubelet.kubernetes.io/x": false, "beta.kubernetes.io/arch": false,
		"node-restriction.kubernetes.io/secure": true, "a.node-restriction.kubernetes.io/x": true, "node-role.kubernetes.io/control-plane": true,
		"kubernetes.io/x": true, "kubernetes.io/role": true, "x.kubernetes.io/y": true, "k8s.io/x": true, "a.k8s.io/x": true, "notkubernetes.io/x": false,
	} {
		set := map[string]string{key: "v"}
		for name, got := range map[string][]string{"set": forbiddenLabels(set, nil), "dropped": forbiddenLabels(nil, set), "changed": forbiddenLabels(set, map[string]string{key: "w"})} {
			if (len(got) > 0) != want {
				t.Errorf("%s %s: forbidden %v, want %v", key, name, got, want)
			}
		}
		if got := forbiddenLabels(set, set); len(got) > 0 {
			t.Errorf("%s, as it was: forbidden", key)
		}
	}
}

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
		"register with a role":   {nodeUser("n1"), admission.Create, nodes, "", with(node("n1"), func(n *corev1.Node) { n.Labels = map[string]string{"node-role.kubernetes.io/master": ""} }), nil, false},
		"register with ranges":   {nodeUser("n1"), admission.Create, nodes, "", with(node("n1"), func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.244.0.0/24"} }), nil, false},
		"register with an owner": {nodeUser("n1"), admission.Create, nodes, "", with(node("n1"), owned), nil, false},
		"register with taints":   {nodeUser("n1"), admission.Create, nodes, "", with(node("n1"), tainted), nil, true},
		"drop taints":            {nodeUser("n1"), admission.Update, nodes, "n1", node("n1"), with(node("n1"), tainted), false},
		"add taints":             {nodeUser("n1"), admission.Update, nodes, "n1", with(node("n1"), tainted), node("n1"), false},
		"keep taints":            {nodeUser("n1"), admission.Update, nodes, "n1", with(node("n1"), tainted), with(node("n1"), tainted), true},
		"take an owner":          {nodeUser("n1"), admission.Update, nodes, "n1", with(node("n1"), owned), node("n1"), false},
		"choose ranges":          {nodeUser("n1"), admission.Update, nodes, "n1", with(node("n1"), func(n *corev1.Node) { n.Spec.PodCIDR = "10.244.0.0/24" }), node("n1"), false},
		"drop a role":            {nodeUser("n1"), admission.Update, nodes, "n1", node("n1"), with(node("n1"), func(n *corev1.Node) { n.Labels = map[string]string{"node-role.kubernetes.io/master": ""} }), false},
		"label its own pod":      {nodeUser("n1"), admission.Update, pods, "p", with(pod("n1"), func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }), pod("n1"), false},
		"own lease":              {nodeUser("n1"), admission.Create, leases, "", lease("n1"), nil, true},
		"another's lease":        {nodeUser("n1"), admission.Create, leases, "", lease("n2"), nil, false},
		"an administrator's pod": {member(user.SystemPrivilegedGroup), admission.Delete, pods, "p", nil, pod("n2"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := admission.NewAttributesRecord(tt.obj, tt.old, schema.GroupVersionKind{}, "", tt.name, tt.resource, "", tt.op, nil, false, tt.u)
			err := NewNodeRestriction(claim.Cluster{}, nil, nil, &Bound{}).Validate(t.Context(), a, nil)
			if (err == nil) != tt.want {
				t.Errorf("error %v, want allowed=%v", err, tt.want)
			}
		})
	}
}
