package registry

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	coordination "k8s.io/kubernetes/pkg/apis/coordination"
	convert "k8s.io/kubernetes/pkg/apis/coordination/v1"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
)

func leases() *kind[*coordinationv1.Lease] {
	return refusingToo(adopt(foreign[*coordinationv1.Lease, *coordination.Lease]{
		strategy: lease.Strategy,
		in:       convert.Convert_v1_Lease_To_coordination_Lease, out: convert.Convert_coordination_Lease_To_v1_Lease,
	}, kind[*coordinationv1.Lease]{
		group: coordinationv1.GroupName, plural: "leases", singular: "lease",
		list: func() runtime.Object { return &coordinationv1.LeaseList{} },
	}), refuseElection)
}

// refuseElection refuses the fields by which the control plane would choose a holder. Upstream drops them where its feature gate
// is off, which is what it is by default. What a Lease has already may stay.
func refuseElection(l, old *coordinationv1.Lease) field.ErrorList {
	if old == nil {
		old = &coordinationv1.Lease{}
	}
	var errs field.ErrorList
	const why = "coordinated leader election is not supported"
	if l.Spec.Strategy != nil && !equality.Semantic.DeepEqual(l.Spec.Strategy, old.Spec.Strategy) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "strategy"), why))
	}
	if l.Spec.PreferredHolder != nil && !equality.Semantic.DeepEqual(l.Spec.PreferredHolder, old.Spec.PreferredHolder) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "preferredHolder"), why))
	}
	return errs
}
