package registry

import (
	"context"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func leases() *kind[*coordinationv1.Lease] {
	return &kind[*coordinationv1.Lease]{
		group: coordinationv1.GroupName, plural: "leases", singular: "lease", createOnUpdate: true, conditional: true,
		new:      func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
		list:     func() runtime.Object { return &coordinationv1.LeaseList{} },
		validate: validateLease,
		columns: []metav1.TableColumnDefinition{
			name(), column("Holder", "string", coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]), age(),
		},
		row: func(l *coordinationv1.Lease) []any {
			holder := ""
			if l.Spec.HolderIdentity != nil {
				holder = *l.Spec.HolderIdentity
			}
			return []any{l.Name, holder, since(l.CreationTimestamp)}
		},
	}
}

func validateLease(_ context.Context, l *coordinationv1.Lease) field.ErrorList {
	errs := validateMeta(&l.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	path := field.NewPath("spec")
	if s := l.Spec.LeaseDurationSeconds; s != nil && *s <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *s, "must be greater than 0"))
	}
	if n := l.Spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	strategy := ptr.Deref(l.Spec.Strategy, "")
	if l.Spec.Strategy != nil {
		errs = append(errs, validateElection(strategy, path.Child("strategy"))...)
	}
	if ptr.Deref(l.Spec.PreferredHolder, "") != "" && strategy == "" {
		errs = append(errs, field.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}

// validateElection checks the strategy by which somebody is to choose the holder. A name with a prefix is one of a controller's own;
// the one without would be the control plane's task.
func validateElection(strategy coordinationv1.CoordinatedLeaseStrategy, path *field.Path) field.ErrorList {
	if strings.Contains(string(strategy), "/") {
		return invalid(path, strategy, content.IsLabelKey(string(strategy)))
	}
	if errs := oneOf(path, strategy, coordinationv1.OldestEmulationVersion); len(errs) > 0 {
		return errs
	}
	return field.ErrorList{field.Forbidden(path, "coordinated leader election is not supported")}
}
