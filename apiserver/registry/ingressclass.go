package registry

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// longestController is how many bytes the name of an Ingress controller may have.
const longestController = 250

func ingressClasses() *kind[*networkingv1.IngressClass] {
	return &kind[*networkingv1.IngressClass]{
		group: networkingv1.GroupName, plural: "ingressclasses", singular: "ingressclass", cluster: true,
		new:     func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} },
		list:    func() runtime.Object { return &networkingv1.IngressClassList{} },
		prepare: func(_ context.Context, c *networkingv1.IngressClass) { c.Generation = 1 },
		prepareUpdate: func(_ context.Context, c, old *networkingv1.IngressClass) {
			if !equality.Semantic.DeepEqual(c.Spec, old.Spec) {
				c.Generation = old.Generation + 1
			}
		},
		validate: func(_ context.Context, c *networkingv1.IngressClass) field.ErrorList { return validateIngressClass(c) },
		validateUpdate: func(_ context.Context, c, old *networkingv1.IngressClass) field.ErrorList {
			errs := unchanged(field.NewPath("spec", "controller"), c.Spec.Controller, old.Spec.Controller)
			return append(errs, validateIngressClass(c)...)
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Controller", "string", "Controller that is responsible for handling this class"),
			column("Parameters", "string", "A reference to a resource with additional parameters"),
			age(),
		},
		row: func(c *networkingv1.IngressClass) []any {
			return []any{c.Name, c.Spec.Controller, classParameters(c.Spec.Parameters), since(c.CreationTimestamp)}
		},
	}
}

// defaultIngressClass fills in what parameters are of.
func defaultIngressClass(c *networkingv1.IngressClass) {
	if c.Spec.Parameters != nil {
		setPointer(&c.Spec.Parameters.Scope, networkingv1.IngressClassParametersReferenceScopeCluster)
	}
}

// validateIngressClass checks a class (rule I11).
func validateIngressClass(c *networkingv1.IngressClass) field.ErrorList {
	errs := validateMeta(&c.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	path := field.NewPath("spec")
	if controller := path.Child("controller"); c.Spec.Controller == "" {
		errs = append(errs, field.Required(controller, ""))
	} else {
		if len(c.Spec.Controller) > longestController {
			errs = append(errs, field.TooLong(controller, "", longestController))
		}
		errs = append(errs, validation.IsDomainPrefixedPath(controller, c.Spec.Controller)...)
	}
	return append(errs, validateClassParameters(c.Spec.Parameters, path.Child("parameters"))...)
}

func validateClassParameters(p *networkingv1.IngressClassParametersReference, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	const cluster, namespaced = networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace
	errs := validateReference(p.APIGroup, p.Kind, p.Name, path)
	if p.Scope == nil {
		return append(errs, field.Required(path.Child("scope"), ""))
	}
	namespace := path.Child("namespace")
	switch {
	case *p.Scope == namespaced && p.Namespace == nil:
		errs = append(errs, field.Required(namespace, "`parameters.scope` is set to 'Namespace'"))
	case *p.Scope == namespaced:
		errs = append(errs, invalid(namespace, *p.Namespace, apivalidation.ValidateNamespaceName(*p.Namespace, false))...)
	case *p.Scope == cluster && p.Namespace != nil:
		errs = append(errs, field.Forbidden(namespace, "`parameters.scope` is set to 'Cluster'"))
	default:
		errs = append(errs, oneOf(path.Child("scope"), *p.Scope, cluster, namespaced)...)
	}
	return errs
}

// classParameters prints a reference as KIND.GROUP/NAME.
func classParameters(p *networkingv1.IngressClassParametersReference) string {
	if p == nil {
		return none
	}
	kind := p.Kind
	if p.APIGroup != nil {
		kind += "." + *p.APIGroup
	}
	return kind + "/" + p.Name
}
