package auth

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	upstream "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"fairlead.dev/fairlead/apiserver/rbac"
	"fairlead.dev/fairlead/pki/peer"
)

func nodeUser(name string) user.Info {
	return &user.DefaultInfo{Name: NodeUserPrefix + name, Groups: []string{user.NodesGroup, user.AllAuthenticated}}
}

func member(groups ...string) user.Info {
	return &user.DefaultInfo{Name: "jane", Groups: append(groups, user.AllAuthenticated)}
}

// ask is a request to the API: verb, resource[/subresource], namespace, name.
func ask(u user.Info, verb, group, resource, sub, namespace, name string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{User: u, Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Namespace: namespace, Name: name, ResourceRequest: true}
}

func path(u user.Info, verb, p string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{User: u, Verb: verb, Path: p}
}

func onNode(a authorizer.AttributesRecord, node string) authorizer.AttributesRecord {
	a.FieldSelectorRequirements = fields.Requirements{{Field: podNodeField, Operator: selection.Equals, Value: node}}
	return a
}

// decides is what the server decides by, with the roles and bindings that every cluster begins with, and more.
func decides(t testing.TB, bound *Bound, more rbac.Policy) authorizer.Authorizer {
	t.Helper()
	authz, err := Authorizer(bound, byRoles(more))
	if err != nil {
		t.Fatal(err)
	}
	return authz
}

// byRoles decides by the roles and bindings that every cluster begins with, and more.
func byRoles(more rbac.Policy) *upstream.RBACAuthorizer {
	p := rbac.Bootstrap()
	_, all := validation.NewTestRuleResolver(
		append(pointers(p.Roles), pointers(more.Roles)...), append(pointers(p.RoleBindings), pointers(more.RoleBindings)...),
		append(pointers(p.ClusterRoles), pointers(more.ClusterRoles)...), append(pointers(p.ClusterRoleBindings), pointers(more.ClusterRoleBindings)...))
	return upstream.New(all, all, all, all)
}

func pointers[T any](items []T) []*T {
	var all []*T
	for i := range items {
		all = append(all, &items[i])
	}
	return all
}

func TestAuthorize(t *testing.T) {
	admin, jane, n1 := member(user.SystemPrivilegedGroup), member(), nodeUser("n1")
	anonymous := &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}
	impostor := &user.DefaultInfo{Name: NodeUserPrefix + "n1", Groups: []string{user.AllAuthenticated}}
	tests := map[string]struct {
		a    authorizer.AttributesRecord
		want bool
	}{
		"admin deletes":                      {ask(admin, "delete", "apps", "deployments", "", "a", "x"), true},
		"admin impersonates":                 {ask(admin, "impersonate", "", "users", "", "", "x"), true},
		"admin reads metrics":                {path(admin, "get", "/metrics"), true},
		"member reads pods":                  {ask(jane, "get", "", "pods", "", "a", "x"), false},
		"member discovers":                   {path(jane, "get", "/apis/apps/v1"), true},
		"member reads openapi":               {path(jane, "get", "/openapi/v3/api/v1"), true},
		"member reads metrics":               {path(jane, "get", "/metrics"), false},
		"member asks for own rights":         {ask(jane, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", ""), true},
		"member asks for others' rights":     {ask(jane, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", ""), false},
		"anonymous health":                   {path(anonymous, "get", "/readyz"), true},
		"anonymous version":                  {path(anonymous, "get", "/version"), true},
		"anonymous discovers":                {path(anonymous, "get", "/api"), false},
		"node's name without its group":      {ask(impostor, "list", "", "services", "", "", ""), false},
		"node lists services":                {ask(n1, "list", "", "services", "", "", ""), true},
		"node watches slices":                {ask(n1, "watch", "discovery.k8s.io", "endpointslices", "", "", ""), true},
		"node creates services":              {ask(n1, "create", "", "services", "", "a", ""), false},
		"node lists secrets":                 {ask(n1, "list", "", "secrets", "", "a", ""), false},
		"node watches config maps":           {ask(n1, "watch", "", "configmaps", "", "a", "x"), false},
		"caller of agents discovers":         {path(member(peer.CallerGroup), "get", "/api"), false},
		"caller of agents asks for rights":   {ask(member(peer.CallerGroup), "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", ""), false},
		"caller of agents, also a master":    {ask(member(peer.CallerGroup, user.SystemPrivilegedGroup), "get", "", "pods", "", "a", "x"), false},
		"node writes a secret":               {ask(n1, "update", "", "secrets", "", "a", "x"), false},
		"node lists all pods":                {ask(n1, "list", "", "pods", "", "", ""), false},
		"node lists its pods":                {onNode(ask(n1, "list", "", "pods", "", "", ""), "n1"), true},
		"node watches another's pods":        {onNode(ask(n1, "watch", "", "pods", "", "", ""), "n2"), false},
		"node creates a pod":                 {ask(n1, "create", "", "pods", "", "a", ""), false},
		"node evicts a pod":                  {ask(n1, "create", "", "pods", "eviction", "a", "x"), false},
		"node deletes all pods":              {ask(n1, "deletecollection", "", "pods", "", "a", ""), false},
		"node writes a pod's status":         {ask(n1, "patch", "", "pods", "status", "a", "x"), true},
		"node writes a pod":                  {ask(n1, "patch", "", "pods", "", "a", "x"), false},
		"node execs":                         {ask(n1, "create", "", "pods", "exec", "a", "x"), false},
		"node registers":                     {ask(n1, "create", "", "nodes", "", "", ""), true},
		"node writes its status":             {ask(n1, "patch", "", "nodes", "status", "", "n1"), true},
		"node writes another's status":       {ask(n1, "patch", "", "nodes", "status", "", "n2"), false},
		"node deletes itself":                {ask(n1, "delete", "", "nodes", "", "", "n1"), false},
		"node renews its lease":              {ask(n1, "update", "coordination.k8s.io", "leases", "", leaseNamespace, "n1"), true},
		"node renews another's lease":        {ask(n1, "update", "coordination.k8s.io", "leases", "", leaseNamespace, "n2"), false},
		"node holds a lease elsewhere":       {ask(n1, "create", "coordination.k8s.io", "leases", "", "kube-system", "n1"), false},
		"node tells an event":                {ask(n1, "create", "", "events", "", "a", ""), true},
		"node binds a pod":                   {ask(n1, "create", "", "pods", "binding", "a", "x"), false},
		"node asks for a group it is not in": {ask(n1, "list", "apps", "services", "", "", ""), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := decides(t, &Bound{}, rbac.Policy{}).Authorize(t.Context(), tt.a)
			if err != nil {
				t.Fatal(err)
			}
			if (got == authorizer.DecisionAllow) != tt.want {
				t.Errorf("decision %v, want allowed=%v", got, tt.want)
			}
		})
	}
}

func TestNobodyMayDoNothing(t *testing.T) {
	got, _, err := decides(t, &Bound{}, rbac.Policy{}).Authorize(t.Context(), authorizer.AttributesRecord{Verb: "get", Path: "/version"})
	if err != nil || got == authorizer.DecisionAllow {
		t.Errorf("a request without a user: %v, %v", got, err)
	}
}

func TestRulesForNamesNamespacedRulesOnlyThere(t *testing.T) {
	for namespace, want := range map[string]bool{leaseNamespace: true, "default": false} {
		resources, _, incomplete, err := Rules{byRoles(rbac.Policy{})}.RulesFor(t.Context(), nodeUser("n1"), namespace)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, r := range resources {
			found = found || slices.Contains(r.GetResources(), "leases")
		}
		if found != want || !incomplete {
			t.Errorf("namespace %s: leases listed %v, want %v; incomplete %v", namespace, found, want, incomplete)
		}
	}
}
