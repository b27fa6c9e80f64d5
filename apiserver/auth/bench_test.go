package auth

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"fairlead.dev/fairlead/apiserver/rbac"
)

// cached is what decides by caches that hold a policy, as the server does.
func cached(t testing.TB, p rbac.Policy) authorizer.Authorizer {
	t.Helper()
	client := fake.NewClientset()
	shared := informers.NewSharedInformerFactory(client, 0)
	access := rbac.New(client, shared)
	in := shared.Rbac().V1()
	for _, r := range pointers(p.ClusterRoles) {
		_ = in.ClusterRoles().Informer().GetStore().Add(r)
	}
	for _, b := range pointers(p.ClusterRoleBindings) {
		_ = in.ClusterRoleBindings().Informer().GetStore().Add(b)
	}
	for _, r := range pointers(p.Roles) {
		_ = in.Roles().Informer().GetStore().Add(r)
	}
	for _, b := range pointers(p.RoleBindings) {
		_ = in.RoleBindings().Informer().GetStore().Add(b)
	}
	authz, err := Authorizer(&Bound{}, access)
	if err != nil {
		t.Fatal(err)
	}
	return authz
}

func BenchmarkAuthorize(b *testing.B) {
	p := rbac.Bootstrap()
	p.RoleBindings = append(p.RoleBindings, rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "team"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "team"}},
	})
	authz := cached(b, p)
	for name, a := range map[string]authorizer.AttributesRecord{
		"admin":    ask(member(user.SystemPrivilegedGroup), "update", "apps", "deployments", "", "a", "x"),
		"editor":   ask(member("team"), "update", "apps", "deployments", "", "a", "x"),
		"stranger": ask(member(), "update", "apps", "deployments", "", "a", "x"),
		"node":     ask(nodeUser("n1"), "list", "", "services", "", "", ""),
		"health":   path(member(), "get", "/readyz"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := authz.Authorize(b.Context(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
