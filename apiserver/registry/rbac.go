package registry

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	rbac "k8s.io/kubernetes/pkg/apis/rbac"
	convert "k8s.io/kubernetes/pkg/apis/rbac/v1"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
)

// rbac are roles and bindings, in which nobody grants what they do not have.
func (b *builder) rbac() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	roles, roleBindings := build(b, roles()), build(b, roleBindings())
	clusterRoles, clusterRoleBindings := build(b, clusterRoles()), build(b, clusterRoleBindings())
	if b.err != nil {
		return resources
	}
	from := stored{roles.Store, roleBindings.Store, clusterRoles.Store, clusterRoleBindings.Store}
	by := grants{b.config.Authorizer, validation.NewDefaultRuleResolver(from, from, from, from)}
	resources["roles"] = granting[*rbacv1.Role]{roles, by.role}
	resources["rolebindings"] = granting[*rbacv1.RoleBinding]{roleBindings, by.roleBinding}
	resources["clusterroles"] = granting[*rbacv1.ClusterRole]{clusterRoles, by.clusterRole}
	resources["clusterrolebindings"] = granting[*rbacv1.ClusterRoleBinding]{clusterRoleBindings, by.clusterRoleBinding}
	return resources
}

func roles() *kind[*rbacv1.Role] {
	return adopt(foreign[*rbacv1.Role, *rbac.Role]{
		plain: true, strategy: role.Strategy,
		in: convert.Convert_v1_Role_To_rbac_Role, out: convert.Convert_rbac_Role_To_v1_Role,
	}, kind[*rbacv1.Role]{
		group: rbacv1.GroupName, plural: "roles", singular: "role",
		list: func() runtime.Object { return &rbacv1.RoleList{} },
	})
}

func roleBindings() *kind[*rbacv1.RoleBinding] {
	return adopt(foreign[*rbacv1.RoleBinding, *rbac.RoleBinding]{
		strategy: rolebinding.Strategy,
		in:       convert.Convert_v1_RoleBinding_To_rbac_RoleBinding, out: convert.Convert_rbac_RoleBinding_To_v1_RoleBinding,
	}, kind[*rbacv1.RoleBinding]{
		group: rbacv1.GroupName, plural: "rolebindings", singular: "rolebinding",
		list: func() runtime.Object { return &rbacv1.RoleBindingList{} },
	})
}

func clusterRoles() *kind[*rbacv1.ClusterRole] {
	return adopt(foreign[*rbacv1.ClusterRole, *rbac.ClusterRole]{
		plain: true, strategy: clusterrole.Strategy,
		in: convert.Convert_v1_ClusterRole_To_rbac_ClusterRole, out: convert.Convert_rbac_ClusterRole_To_v1_ClusterRole,
	}, kind[*rbacv1.ClusterRole]{
		group: rbacv1.GroupName, plural: "clusterroles", singular: "clusterrole",
		list: func() runtime.Object { return &rbacv1.ClusterRoleList{} },
	})
}

func clusterRoleBindings() *kind[*rbacv1.ClusterRoleBinding] {
	return adopt(foreign[*rbacv1.ClusterRoleBinding, *rbac.ClusterRoleBinding]{
		strategy: clusterrolebinding.Strategy,
		in:       convert.Convert_v1_ClusterRoleBinding_To_rbac_ClusterRoleBinding, out: convert.Convert_rbac_ClusterRoleBinding_To_v1_ClusterRoleBinding,
	}, kind[*rbacv1.ClusterRoleBinding]{
		group: rbacv1.GroupName, plural: "clusterrolebindings", singular: "clusterrolebinding",
		list: func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} },
	})
}
