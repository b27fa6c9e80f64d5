package auth

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Authorizer applies the rule table. What belongs to a node is known from the pods bound to it.
func Authorizer(bound *Bound) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorize(ctx, a, bound)
	})
}

func authorize(ctx context.Context, a authorizer.Attributes, bound *Bound) (authorizer.Decision, string, error) {
	u := a.GetUser()
	if u == nil {
		return authorizer.DecisionNoOpinion, "no user on request", nil
	}
	node, _ := NodeName(u)
	for _, r := range rulesOf(u) {
		if !r.covers(a) {
			continue
		}
		if ok, err := r.limit.allows(ctx, a, node, bound); ok || err != nil {
			return decision(ok), "", err
		}
	}
	if node != "" {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("nothing that belongs to node %q asks for it", node), nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func decision(allowed bool) authorizer.Decision {
	if allowed {
		return authorizer.DecisionAllow
	}
	return authorizer.DecisionNoOpinion
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
