package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// Policy is roles and bindings.
type Policy struct {
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
}

// Bootstrap is the policy that a cluster begins with. What the aggregated roles allow is in them already.
func Bootstrap() Policy {
	p := Policy{
		ClusterRoles:        slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles(), ownRoles()),
		ClusterRoleBindings: slices.Concat(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()),
	}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for i := range roles {
			p.Roles = append(p.Roles, *roles[i].DeepCopy())
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for i := range bindings {
			p.RoleBindings = append(p.RoleBindings, *bindings[i].DeepCopy())
		}
	}
	p.aggregate()
	return p
}

// aggregate fills the aggregated roles, those first that others gather from.
func (p *Policy) aggregate() {
	slices.SortFunc(p.ClusterRoles, func(a, b rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	for range p.ClusterRoles { // as often as one may gather from another, and no more
		changed := false
		for i := range p.ClusterRoles {
			role := &p.ClusterRoles[i]
			if role.AggregationRule == nil {
				continue
			}
			if rules := gathered(role, p.ClusterRoles); !equality.Semantic.DeepEqual(rules, role.Rules) {
				role.Rules, changed = rules, true
			}
		}
		if !changed {
			return
		}
	}
}

// gathered are the rules of an aggregated role: those of all others that its selectors select, which are sorted by name, each once.
func gathered(role *rbacv1.ClusterRole, all []rbacv1.ClusterRole) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			continue // a selector that selects nothing
		}
		for j := range all {
			if all[j].Name == role.Name || !selector.Matches(labels.Set(all[j].Labels)) {
				continue
			}
			for _, rule := range all[j].Rules {
				if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(r, rule) }) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules
}
