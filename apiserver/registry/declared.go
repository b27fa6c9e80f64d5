package registry

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// ValidateDeclaratively adds what upstream's declarative validation finds to errs, for a kind whose rules are upstream's. It is
// rest.ValidateDeclarativelyWithMigrationChecks without the checks, which compare upstream with itself, and without a copy of the
// object: that what is stored has the types that are validated is known here.
func (s strategy[T]) ValidateDeclaratively(ctx context.Context, obj, old runtime.Object, errs field.ErrorList, op operation.Type, config rest.DeclarativeValidationConfig) field.ErrorList {
	if s.kind.declared == nil {
		return errs
	}
	found := s.declaredErrors(ctx, obj, old, op, config)
	beta := utilfeature.DefaultFeatureGate.Enabled(features.DeclarativeValidationBeta)
	enforced := validate.FilterEnforcedDeclarativeErrors(ctx, found, beta)
	errs = validate.FilterCoveredHandwrittenErrors(ctx, errs.MarkFromImperative(), enforced, beta, config.NormalizationRules...)
	return append(errs, enforced...)
}

func (s strategy[T]) declaredErrors(ctx context.Context, obj, old runtime.Object, op operation.Type, config rest.DeclarativeValidationConfig) field.ErrorList {
	var subresources []string
	if info, ok := request.RequestInfoFrom(ctx); ok && info.Resource == s.kind.plural {
		if info.Subresource != "" {
			subresources = strings.Split(info.Subresource, "/")
		}
		if as := (schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}); as != s.kind.stored() { // events, which two groups serve
			var err error
			if obj, old, err = served(obj, old, as); err != nil {
				return field.ErrorList{field.InternalError(nil, err)}
			}
		}
	}
	if op == operation.Create {
		return Scheme.Validate(ctx, config.Options, obj, subresources...)
	}
	return Scheme.ValidateUpdate(ctx, config.Options, obj, old, subresources...)
}

// served are an object, and what it was before if it was, as the group and version of a request has them.
func served(obj, old runtime.Object, as schema.GroupVersion) (runtime.Object, runtime.Object, error) {
	obj, err := Scheme.ConvertToVersion(obj, as)
	if err != nil || old == nil {
		return obj, old, err
	}
	old, err = Scheme.ConvertToVersion(old, as)
	return obj, old, err
}

// DeclarativeValidationConfig says how ValidateDeclaratively is to be asked.
func (s strategy[T]) DeclarativeValidationConfig(ctx context.Context, obj, old runtime.Object) rest.DeclarativeValidationConfig {
	if s.kind.declared == nil {
		return rest.DeclarativeValidationConfig{}
	}
	was, _ := old.(T)
	return s.kind.declared(ctx, obj.(T), was)
}
