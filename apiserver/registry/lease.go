package registry

import (
	coordinationv1 "k8s.io/api/coordination/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func leases() *kind[*coordinationv1.Lease] {
	return &kind[*coordinationv1.Lease]{
		group: coordinationv1.GroupName, plural: "leases", singular: "lease", createOnUpdate: true,
		new:     func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
		list:    func() runtime.Object { return &coordinationv1.LeaseList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *coordinationv1.Lease) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}
