package rbac

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
)

// atOnce is how many objects of the policy are written at once.
const atOnce = 8

// Reconcile makes the policy whole again, as upstream does: what it lacks is added, what somebody added stays. It reads the
// caches, which must be filled, so that nothing is asked for where nothing is missing.
func (a *Access) Reconcile(ctx context.Context, p Policy) error {
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	errs := make(chan error, len(p.ClusterRoles)+len(p.ClusterRoleBindings)+len(p.Roles)+len(p.RoleBindings))
	try := func(obj kept, run func() error) {
		group.Go(func() error { // one that fails keeps no other from being written
			err := retry.OnError(retry.DefaultBackoff, passing, run)
			if err != nil {
				errs <- fmt.Errorf("%s %s: %w", resourceOf(obj), obj.GetName(), err)
			}
			return nil
		})
	}
	for i := range p.ClusterRoles {
		role := &p.ClusterRoles[i]
		try(role, func() error {
			return a.role(reconciliation.ClusterRoleRuleOwner{ClusterRole: asWritten(role)}, a.clusterRoles())
		})
	}
	for i := range p.Roles {
		role := &p.Roles[i]
		try(role, func() error { return a.role(reconciliation.RoleRuleOwner{Role: role}, a.roles()) })
	}
	for i := range p.ClusterRoleBindings {
		b := &p.ClusterRoleBindings[i]
		try(b, func() error {
			return a.binding(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: b}, a.clusterRoleBindings())
		})
	}
	for i := range p.RoleBindings {
		b := &p.RoleBindings[i]
		try(b, func() error { return a.binding(reconciliation.RoleBindingAdapter{RoleBinding: b}, a.roleBindings()) })
	}
	_ = group.Wait() // no function of it returns an error
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func passing(err error) bool { return apierrors.IsConflict(err) || apierrors.IsServiceUnavailable(err) }

// asWritten is a role as it is to be made: what an aggregated one allows is gathered for it.
func asWritten(role *rbacv1.ClusterRole) *rbacv1.ClusterRole {
	if role.AggregationRule == nil {
		return role
	}
	role = role.DeepCopy()
	role.Rules = nil
	return role
}

func (a *Access) role(want reconciliation.RuleOwner, client reconciliation.RuleOwnerModifier) error {
	_, err := (&reconciliation.ReconcileRoleOptions{Role: want, Client: client, Confirm: true}).Run()
	return err
}

func (a *Access) binding(want reconciliation.RoleBinding, client reconciliation.RoleBindingModifier) error {
	_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: want, Client: client, Confirm: true}).Run()
	return err
}

func resourceOf(obj kept) string {
	switch obj.(type) {
	case *rbacv1.ClusterRole:
		return "clusterrole"
	case *rbacv1.ClusterRoleBinding:
		return "clusterrolebinding"
	case *rbacv1.Role:
		return "role"
	}
	return "rolebinding"
}

// cachedRole and cachedBinding write by the API and read what is cached, and what is not cached where it is stored.
type cachedRole struct {
	reconciliation.RuleOwnerModifier
	get func(namespace, name string) (reconciliation.RuleOwner, error)
}

// Get is part of reconciliation.RuleOwnerModifier.
func (c cachedRole) Get(namespace, name string) (reconciliation.RuleOwner, error) {
	obj, err := c.get(namespace, name)
	if apierrors.IsNotFound(err) {
		return c.RuleOwnerModifier.Get(namespace, name)
	}
	return obj, err
}

type cachedBinding struct {
	reconciliation.RoleBindingModifier
	get func(namespace, name string) (reconciliation.RoleBinding, error)
}

// Get is part of reconciliation.RoleBindingModifier.
func (c cachedBinding) Get(namespace, name string) (reconciliation.RoleBinding, error) {
	obj, err := c.get(namespace, name)
	if apierrors.IsNotFound(err) {
		return c.RoleBindingModifier.Get(namespace, name)
	}
	return obj, err
}

func (a *Access) clusterRoles() cachedRole {
	return cachedRole{reconciliation.ClusterRoleModifier{Client: a.client.RbacV1().ClusterRoles()}, func(_, name string) (reconciliation.RuleOwner, error) {
		role, err := a.informers.Rbac().V1().ClusterRoles().Lister().Get(name)
		return reconciliation.ClusterRoleRuleOwner{ClusterRole: role}, err
	}}
}

func (a *Access) roles() cachedRole {
	write := reconciliation.RoleModifier{Client: a.client.RbacV1(), NamespaceClient: a.client.CoreV1().Namespaces()}
	return cachedRole{write, func(namespace, name string) (reconciliation.RuleOwner, error) {
		role, err := a.informers.Rbac().V1().Roles().Lister().Roles(namespace).Get(name)
		return reconciliation.RoleRuleOwner{Role: role}, err
	}}
}

func (a *Access) clusterRoleBindings() cachedBinding {
	write := reconciliation.ClusterRoleBindingClientAdapter{Client: a.client.RbacV1().ClusterRoleBindings()}
	return cachedBinding{write, func(_, name string) (reconciliation.RoleBinding, error) {
		b, err := a.informers.Rbac().V1().ClusterRoleBindings().Lister().Get(name)
		return reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: b}, err
	}}
}

func (a *Access) roleBindings() cachedBinding {
	write := reconciliation.RoleBindingClientAdapter{Client: a.client.RbacV1(), NamespaceClient: a.client.CoreV1().Namespaces()}
	return cachedBinding{write, func(namespace, name string) (reconciliation.RoleBinding, error) {
		b, err := a.informers.Rbac().V1().RoleBindings().Lister().RoleBindings(namespace).Get(name)
		return reconciliation.RoleBindingAdapter{RoleBinding: b}, err
	}}
}
