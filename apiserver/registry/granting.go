package registry

import (
	"context"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/rbac"
	escalation "k8s.io/kubernetes/pkg/registry/rbac"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
)

// granting is the storage of roles or bindings in which nobody writes one that grants what they may not do themselves, unless they
// are told to be allowed to: by the verb escalate on roles, by the verb bind on what is bound.
type granting[T object] struct {
	store[T]
	may func(ctx context.Context, obj, old T) error // nil: the caller may write obj; old is nil or empty where there was none
}

// Create is part of rest.Creater.
func (g granting[T]) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	var none T
	if err := g.may(ctx, obj.(T), none); err != nil {
		return nil, err
	}
	return g.store.Create(ctx, obj, validate, options)
}

// Update is part of rest.Updater. What the garbage collector writes grants nothing.
func (g granting[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	info = rest.WrapUpdatedObjectInfo(info, func(ctx context.Context, obj, old runtime.Object) (runtime.Object, error) {
		if grantsNothing(obj, old) {
			return obj, nil
		}
		if err := g.may(ctx, obj.(T), old.(T)); err != nil {
			return nil, err
		}
		return obj, nil
	})
	return g.store.Update(ctx, name, info, create, update, forceAllowCreate, options)
}

// grantsNothing says whether a change is one of those that the garbage collector makes.
func grantsNothing(obj, old runtime.Object) bool {
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(old.GetObjectKind().GroupVersionKind())
	return escalation.IsOnlyMutatingGCFields(obj, old, equality.Semantic)
}

// grants says who may grant what. It reads what is stored, not what a cache has: a right that was taken is not passed on.
type grants struct {
	authorizer authorizer.UnconditionalAuthorizer
	rules      validation.AuthorizationRuleResolver
}

// fullAuthority is what somebody must have who lets a role gather others, which may come to be whatever they like.
func fullAuthority() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
	}
}

func (g grants) role(ctx context.Context, r, _ *rbacv1.Role) error {
	if escalation.EscalationAllowed(ctx) || escalation.RoleEscalationAuthorized(ctx, g.authorizer) {
		return nil
	}
	return g.holds(ctx, "roles", r.Name, r.Rules)
}

func (g grants) clusterRole(ctx context.Context, r, old *rbacv1.ClusterRole) error {
	if escalation.EscalationAllowed(ctx) || escalation.RoleEscalationAuthorized(ctx, g.authorizer) {
		return nil
	}
	if err := g.holds(ctx, "clusterroles", r.Name, r.Rules); err != nil {
		return err
	}
	if !gathers(r) && !gathers(old) {
		return nil
	}
	if err := validation.ConfirmNoEscalation(ctx, g.rules, fullAuthority()); err != nil {
		return apierrors.NewForbidden(rbac.Resource("clusterroles"), r.Name, errors.New("must have cluster-admin privileges to use the aggregationRule"))
	}
	return nil
}

func gathers(r *rbacv1.ClusterRole) bool {
	return r != nil && r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
}

func (g grants) roleBinding(ctx context.Context, b, _ *rbacv1.RoleBinding) error {
	if escalation.EscalationAllowed(ctx) {
		return nil
	}
	namespace, ok := genericapirequest.NamespaceFrom(ctx)
	if !ok {
		return apierrors.NewBadRequest("namespace is required")
	}
	return g.binding(ctx, "rolebindings", b.Name, namespace, b.RoleRef)
}

func (g grants) clusterRoleBinding(ctx context.Context, b, _ *rbacv1.ClusterRoleBinding) error {
	if escalation.EscalationAllowed(ctx) {
		return nil
	}
	return g.binding(ctx, "clusterrolebindings", b.Name, metav1.NamespaceNone, b.RoleRef)
}

// binding says whether the caller may bind a role: they are told to be allowed to, or may do all that it allows.
func (g grants) binding(ctx context.Context, resource, name, namespace string, role rbacv1.RoleRef) error {
	if escalation.BindingAuthorized(ctx, rbac.RoleRef(role), namespace, g.authorizer) {
		return nil
	}
	rules, err := g.rules.GetRoleReferenceRules(ctx, role, namespace)
	if err != nil {
		return err
	}
	return g.holds(ctx, resource, name, rules)
}

// holds says whether the caller may do what rules allow.
func (g grants) holds(ctx context.Context, resource, name string, rules []rbacv1.PolicyRule) error {
	if err := validation.ConfirmNoEscalation(ctx, g.rules, rules); err != nil {
		return apierrors.NewForbidden(rbac.Resource(resource), name, err)
	}
	return nil
}

// stored reads roles and bindings from where they are stored, for upstream's rules.
type stored struct{ roles, roleBindings, clusterRoles, clusterRoleBindings *genericregistry.Store }

// GetRole is part of validation.RoleGetter.
func (s stored) GetRole(ctx context.Context, namespace, name string) (*rbacv1.Role, error) {
	obj, err := s.roles.Get(genericapirequest.WithNamespace(ctx, namespace), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*rbacv1.Role), nil
}

// GetClusterRole is part of validation.ClusterRoleGetter.
func (s stored) GetClusterRole(ctx context.Context, name string) (*rbacv1.ClusterRole, error) {
	obj, err := s.clusterRoles.Get(genericapirequest.WithNamespace(ctx, ""), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*rbacv1.ClusterRole), nil
}

// ListRoleBindings is part of validation.RoleBindingLister.
func (s stored) ListRoleBindings(ctx context.Context, namespace string) ([]*rbacv1.RoleBinding, error) {
	list, err := s.roleBindings.List(genericapirequest.WithNamespace(ctx, namespace), &metainternalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	return pointers(list.(*rbacv1.RoleBindingList).Items), nil
}

// ListClusterRoleBindings is part of validation.ClusterRoleBindingLister.
func (s stored) ListClusterRoleBindings(ctx context.Context) ([]*rbacv1.ClusterRoleBinding, error) {
	list, err := s.clusterRoleBindings.List(genericapirequest.WithNamespace(ctx, ""), &metainternalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	return pointers(list.(*rbacv1.ClusterRoleBindingList).Items), nil
}

func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}
