package auth

import (
	"context"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Authorizer applies the rule table.
func Authorizer() authorizer.Authorizer { return authorizer.AuthorizerFunc(authorize) }

func authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	u := a.GetUser()
	if u == nil {
		return authorizer.DecisionNoOpinion, "no user on request", nil
	}
	node, _ := NodeName(u)
	for _, r := range rulesOf(u) {
		if r.allows(a, node) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// Rules answers what a user may do in a namespace, for `kubectl auth can-i --list`.
type Rules struct{}

// RulesFor is part of authorizer.RuleResolver. The limits of a node's rules to its own objects cannot be
// told in this form, so the answer for a node is incomplete.
func (Rules) RulesFor(_ context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var paths []authorizer.NonResourceRuleInfo
	for _, r := range rulesOf(u) {
		if len(r.paths) > 0 {
			paths = append(paths, &authorizer.DefaultNonResourceRuleInfo{Verbs: r.verbs, NonResourceURLs: r.paths})
		}
		if len(r.resources) > 0 && (r.namespace == "" || r.namespace == namespace) {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{Verbs: r.verbs, APIGroups: []string{r.group}, Resources: r.resources})
		}
	}
	_, isNode := NodeName(u)
	return resources, paths, isNode, nil
}
