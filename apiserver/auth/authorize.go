package auth

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/union"

	"fairlead.dev/fairlead/pki/peer"
)

// Authorizer asks, in this order, until one allows or denies: who may never do anything; system:masters, who may do everything
// although there be no roles; the table of what is public and what is a node's, which is known from the pods bound to it; and roles.
// Reasons carry upstream's names.
func Authorizer(bound *Bound, roles authorizer.Authorizer) (authorizer.Authorizer, error) {
	table := func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorize(ctx, a, bound)
	}
	return union.New(
		union.NamedAuthorizer{AuthorizerName: "nobody", Authorizer: authorizer.AuthorizerFunc(refuse)},
		union.NamedAuthorizer{AuthorizerName: "kubernetes.io/system-privileged-group", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		union.NamedAuthorizer{AuthorizerName: "node", Authorizer: authorizer.AuthorizerFunc(table)},
		union.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: roles},
	)
}

// refuse denies whoever may never do anything: nobody, and whom agents obey, so that an agent gains nothing by passing on what it
// is shown.
func refuse(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	switch u := a.GetUser(); {
	case u == nil:
		return authorizer.DecisionDeny, "no user on request", nil
	case calls(u):
		return authorizer.DecisionDeny, fmt.Sprintf("members of %s call agents, and may do nothing here", peer.CallerGroup), nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func calls(u user.Info) bool { return slices.Contains(u.GetGroups(), peer.CallerGroup) }

func authorize(ctx context.Context, a authorizer.Attributes, bound *Bound) (authorizer.Decision, string, error) {
	node, isNode := NodeName(a.GetUser())
	for _, r := range rulesOf(isNode) {
		if !r.covers(a) {
			continue
		}
		if ok, err := r.limit.allows(ctx, a, node, bound); ok || err != nil {
			return decision(ok), "", err
		}
	}
	if isNode {
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
type Rules struct {
	// Roles answers it by roles.
	Roles authorizer.RuleResolver
}

// RulesFor is part of authorizer.RuleResolver. The limits of a node's rules to its own objects cannot be
// told in this form, so the answer for a node is incomplete.
func (r Rules) RulesFor(ctx context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if calls(u) {
		return nil, nil, false, nil
	}
	resources, paths, incomplete, err := r.Roles.RulesFor(ctx, u, namespace)
	if _, isNode := NodeName(u); !isNode {
		return resources, paths, incomplete, err
	}
	for _, r := range nodeRules() {
		if r.namespace == "" || r.namespace == namespace {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{Verbs: r.verbs, APIGroups: []string{r.group}, Resources: r.resources})
		}
	}
	return resources, paths, true, err
}
