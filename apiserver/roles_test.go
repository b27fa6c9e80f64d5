package apiserver_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyrbacv1 "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// group is a subject.
func group(name string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}}
}

func clusterRole(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
}

func clusterBinding(name, role string, subjects []rbacv1.Subject) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
}

func binding(name, kind, role string, subjects []rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role}}
}

func rule(verbs string, group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Split(verbs, ","), APIGroups: []string{group}, Resources: resources}
}

// made creates objects of RBAC.
func made(t *testing.T, client kubernetes.Interface, objects ...any) {
	t.Helper()
	var err error
	for _, obj := range objects {
		switch obj := obj.(type) {
		case *rbacv1.ClusterRole:
			_, err = client.RbacV1().ClusterRoles().Create(t.Context(), obj, metav1.CreateOptions{})
		case *rbacv1.ClusterRoleBinding:
			_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), obj, metav1.CreateOptions{})
		case *rbacv1.Role:
			_, err = client.RbacV1().Roles("default").Create(t.Context(), obj, metav1.CreateOptions{})
		case *rbacv1.RoleBinding:
			_, err = client.RbacV1().RoleBindings("default").Create(t.Context(), obj, metav1.CreateOptions{})
		default:
			t.Fatalf("%T", obj)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// may asks the server about itself until it says what is wanted: caches follow what was written.
func may(t *testing.T, who kubernetes.Interface, verb, group, resource, sub, namespace, name string) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Verb: verb, Group: group, Resource: resource, Subresource: sub, Namespace: namespace, Name: name,
	}}}
	answer, err := who.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

func TestMembersMayWhatTheirRolesAllow(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	made(t, admin,
		clusterBinding("viewers", "view", group("viewers")),
		clusterBinding("missing", "not-there", group("viewers")),
		clusterRole("metrics", rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}}),
		clusterBinding("metrics", "metrics", group("scrapers")),
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"get", "update"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"mine"}},
			rule("update", "apps", "deployments/scale"), rule("get", "", "pods/log"),
		}},
		binding("one", "Role", "one", group("workers")))
	viewer, worker := clientOf(t, as(t, cfg, "vic", "viewers")), clientOf(t, as(t, cfg, "wil", "workers"))
	eventually(t, "the last binding counts", func() bool { return may(t, worker, "get", "", "configmaps", "", "default", "mine") })
	for name, c := range map[string]struct {
		who                                         kubernetes.Interface
		verb, group, resource, sub, namespace, name string
		want                                        bool
	}{
		"viewer lists pods":                       {viewer, "list", "", "pods", "", "kube-system", "", true},
		"viewer reads logs":                       {viewer, "get", "", "pods", "log", "default", "x", true},
		"viewer reads routes":                     {viewer, "list", "gateway.networking.k8s.io", "httproutes", "", "", "", true},
		"viewer reads secrets":                    {viewer, "get", "", "secrets", "", "default", "x", false},
		"viewer writes pods":                      {viewer, "create", "", "pods", "", "default", "", false},
		"viewer execs":                            {viewer, "create", "", "pods", "exec", "default", "x", false},
		"viewer reads roles":                      {viewer, "list", "rbac.authorization.k8s.io", "roles", "", "default", "", false},
		"worker reads the one":                    {worker, "get", "", "configmaps", "", "default", "mine", true},
		"worker reads another":                    {worker, "get", "", "configmaps", "", "default", "yours", false},
		"worker lists them":                       {worker, "list", "", "configmaps", "", "default", "", false},
		"worker reads the one elsewhere":          {worker, "get", "", "configmaps", "", "kube-system", "mine", false},
		"worker scales":                           {worker, "update", "apps", "deployments", "scale", "default", "x", true},
		"worker changes what it may scale":        {worker, "update", "apps", "deployments", "", "default", "x", false},
		"worker reads a log":                      {worker, "get", "", "pods", "log", "default", "x", true},
		"worker reads the pod whose log it reads": {worker, "get", "", "pods", "", "default", "x", false},
	} {
		if got := may(t, c.who, c.verb, c.group, c.resource, c.sub, c.namespace, c.name); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := status(t, as(t, cfg, "sam", "scrapers"), "/metrics"); got != http.StatusOK {
		t.Errorf("a path that a role allows: %d", got)
	}
	_, err := viewer.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	want := `secrets is forbidden: User "vic" cannot list resource "secrets" in API group "" in the namespace "default": rbac: RBAC: clusterrole.rbac.authorization.k8s.io "not-there" not found`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestNobodyGrantsWhatTheyDoNotHave(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	made(t, admin,
		binding("admins", "ClusterRole", "admin", group("team")),
		clusterRole("manage-roles", rule("*", rbacv1.GroupName, "clusterroles", "clusterrolebindings", "roles", "rolebindings")),
		clusterRole("write-roles", rule("create,get,update,patch,delete", rbacv1.GroupName, "clusterroles", "clusterrolebindings")),
		clusterRole("harmless", rule("get", "", "nodes")),
		clusterRole("bind-view", rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{"view"}}),
		clusterBinding("roleists", "write-roles", group("roleists")), clusterBinding("binders", "bind-view", group("binders")),
		clusterBinding("binders-too", "write-roles", group("binders")), clusterBinding("masters-of-roles", "manage-roles", group("escalators")))
	team, roleist := clientOf(t, as(t, cfg, "tea", "team")), clientOf(t, as(t, cfg, "rol", "roleists"))
	binder, escalator := clientOf(t, as(t, cfg, "bin", "binders")), clientOf(t, as(t, cfg, "esc", "escalators"))
	eventually(t, "the last binding counts", func() bool {
		return may(t, escalator, "escalate", rbacv1.GroupName, "clusterroles", "", "", "")
	})
	bind := func(who kubernetes.Interface, name, role string) error {
		_, err := who.RbacV1().ClusterRoleBindings().Create(ctx, clusterBinding(name, role, group("friends")), metav1.CreateOptions{})
		return err
	}
	define := func(who kubernetes.Interface, role *rbacv1.ClusterRole) error {
		_, err := who.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
		return err
	}
	gathering := clusterRole("gathering")
	gathering.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{}}}
	localRole := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "nodes"}, Rules: []rbacv1.PolicyRule{rule("get", "", "nodes")}}
	for name, c := range map[string]struct {
		do   func() error
		want string // what the refusal says; empty: it is allowed
	}{
		"a role beyond one's own": {func() error { return define(roleist, clusterRole("all", rule("*", "*", "*"))) },
			`clusterroles.rbac.authorization.k8s.io "all" is forbidden: user "rol" (groups=["roleists" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:` + "\n" +
				`{APIGroups:["*"], Resources:["*"], Verbs:["*"]}`},
		"a role made by PUT": {func() error {
			_, err := roleist.RbacV1().ClusterRoles().Update(ctx, clusterRole("put", rule("*", "*", "*")), metav1.UpdateOptions{})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"a role made by apply": {func() error {
			role := applyrbacv1.ClusterRole("applied").WithRules(applyrbacv1.PolicyRule().WithVerbs("*").WithAPIGroups("*").WithResources("*"))
			_, err := roleist.RbacV1().ClusterRoles().Apply(ctx, role, metav1.ApplyOptions{FieldManager: "x"})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"a binding made by PUT": {func() error {
			_, err := roleist.RbacV1().ClusterRoleBindings().Update(ctx, clusterBinding("put", "cluster-admin", group("friends")), metav1.UpdateOptions{})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"a role only tried out": {func() error {
			_, err := roleist.RbacV1().ClusterRoles().Create(ctx, clusterRole("dry", rule("*", "*", "*")), metav1.CreateOptions{DryRun: []string{"All"}})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"a role within one's own": {func() error {
			return define(roleist, clusterRole("part", rule("get", rbacv1.GroupName, "clusterroles")))
		}, ""},
		"aggregation": {func() error { return define(roleist, gathering.DeepCopy()) }, "must have cluster-admin privileges to use the aggregationRule"},
		"a binding beyond one's own": {func() error { return bind(roleist, "up", "cluster-admin") },
			"is attempting to grant RBAC permissions not currently held"},
		"a role that is not there": {func() error { return bind(roleist, "up", "later") }, `clusterrolebindings.rbac.authorization.k8s.io "later" not found`},
		"bound by the verb bind":   {func() error { return bind(binder, "seen", "view") }, ""},
		"another than may be bound": {func() error { return bind(binder, "edited", "edit") },
			"is attempting to grant RBAC permissions not currently held"},
		"escalated by the verb escalate": {func() error { return define(escalator, clusterRole("more", rule("*", "*", "*"))) }, ""},
		"bound by all verbs":             {func() error { return bind(escalator, "mine", "cluster-admin") }, ""},
		"a role of one's own namespace": {func() error {
			_, err := team.RbacV1().Roles("default").Create(ctx, localRole.DeepCopy(), metav1.CreateOptions{})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"edit in one's own namespace": {func() error {
			_, err := team.RbacV1().RoleBindings("default").Create(ctx, binding("friends", "ClusterRole", "edit", group("friends")), metav1.CreateOptions{})
			return err
		}, ""},
		"cluster-admin in one's own namespace": {func() error {
			_, err := team.RbacV1().RoleBindings("default").Create(ctx, binding("owners", "ClusterRole", "cluster-admin", group("friends")), metav1.CreateOptions{})
			return err
		}, `rolebindings.rbac.authorization.k8s.io "owners" is forbidden: user "tea"`},
		"a change of a role": {func() error {
			role, err := roleist.RbacV1().ClusterRoles().Get(ctx, "harmless", metav1.GetOptions{})
			if err != nil {
				return err
			}
			role.Rules = append(role.Rules, rule("*", "", "secrets"))
			_, err = roleist.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"a subject more in a binding": {func() error {
			_, err := roleist.RbacV1().ClusterRoleBindings().Patch(ctx, "cluster-admin", "application/json-patch+json",
				[]byte(`[{"op": "add", "path": "/subjects/-", "value": {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "rol"}}]`), metav1.PatchOptions{})
			return err
		}, "is attempting to grant RBAC permissions not currently held"},
		"what only the garbage collector writes": {func() error {
			_, err := roleist.RbacV1().ClusterRoles().Patch(ctx, "cluster-admin", "application/merge-patch+json", []byte(`{"metadata": {"finalizers": ["example.org/last"]}}`), metav1.PatchOptions{})
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v\nwant %q", err, c.want)
			}
		})
	}
}

// policyOf are the names of all roles and bindings.
func policyOf(t *testing.T, client kubernetes.Interface) (names []string) {
	t.Helper()
	rbac, ctx := client.RbacV1(), t.Context()
	roles, err := rbac.ClusterRoles().List(ctx, metav1.ListOptions{})
	bindings, err2 := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	local, err3 := rbac.Roles("").List(ctx, metav1.ListOptions{})
	localBindings, err4 := rbac.RoleBindings("").List(ctx, metav1.ListOptions{})
	for _, err := range []error{err, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range roles.Items {
		names = append(names, "clusterrole "+r.Name)
	}
	for _, b := range bindings.Items {
		names = append(names, "clusterrolebinding "+b.Name)
	}
	for _, r := range local.Items {
		names = append(names, "role "+r.Namespace+"/"+r.Name)
	}
	for _, b := range localBindings.Items {
		names = append(names, "rolebinding "+b.Namespace+"/"+b.Name)
	}
	slices.Sort(names)
	return names
}

func TestTheAdministratorNeedsNoRoles(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	whole := policyOf(t, clientOf(t, server.ClientConfig()))
	admin, ctx := clientOf(t, as(t, cfg, "fairlead-admin", "system:masters")), t.Context()
	rbac, all := admin.RbacV1(), metav1.DeleteOptions{}
	for _, err := range []error{
		rbac.ClusterRoles().DeleteCollection(ctx, all, metav1.ListOptions{}), rbac.ClusterRoleBindings().DeleteCollection(ctx, all, metav1.ListOptions{}),
		rbac.Roles("kube-system").DeleteCollection(ctx, all, metav1.ListOptions{}), rbac.RoleBindings("kube-system").DeleteCollection(ctx, all, metav1.ListOptions{}),
		rbac.Roles("kube-public").DeleteCollection(ctx, all, metav1.ListOptions{}), rbac.RoleBindings("kube-public").DeleteCollection(ctx, all, metav1.ListOptions{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	jane := as(t, cfg, "jane")
	eventually(t, "nobody else may do anything", func() bool { return status(t, jane, "/api") == http.StatusForbidden })
	if got := policyOf(t, admin); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if got := status(t, jane, "/readyz"); got != http.StatusOK {
		t.Errorf("/readyz without roles: %d", got)
	}
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	if _, err := node.CoreV1().Services("").List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("a node without roles: %v", err)
	}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(ctx, configMap("broken-glass"), metav1.CreateOptions{}); err != nil {
		t.Errorf("the administrator without roles: %v", err)
	}
	made(t, admin, clusterRole("view"), clusterBinding("cluster-admin", "view", group("jane's")))
	stop()
	server, _ = apitest.Run(t, cfg)
	if got := policyOf(t, clientOf(t, server.ClientConfig())); !slices.Equal(got, whole) {
		t.Errorf("after a restart: %v\nwant %v", got, whole)
	}
	if got := status(t, as(t, cfg, "jane"), "/api"); got != http.StatusOK {
		t.Errorf("after a restart jane discovers: %d", got)
	}
	rbac = clientOf(t, server.ClientConfig()).RbacV1()
	if b, err := rbac.ClusterRoleBindings().Get(ctx, "cluster-admin", metav1.GetOptions{}); err != nil || b.RoleRef.Name != "cluster-admin" || b.Subjects[0].Name != "system:masters" {
		t.Errorf("after a restart the binding of system:masters: %+v, %v", b, err)
	}
	eventually(t, "after a restart the useless role gathers", func() bool {
		view, err := rbac.ClusterRoles().Get(ctx, "view", metav1.GetOptions{})
		return err == nil && len(view.Rules) > 5
	})
}

func TestARestartAddsWhatIsMissingAndLeavesWhatIsThere(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	rbac := admin.RbacV1()
	if err := rbac.ClusterRoles().Delete(ctx, "system:kube-dns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	change := func(name string, with func(*rbacv1.ClusterRole)) {
		t.Helper()
		role, err := rbac.ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		with(role)
		if _, err := rbac.ClusterRoles().Update(ctx, role, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	mine := rule("get", "example.org", "things")
	change("system:basic-user", func(r *rbacv1.ClusterRole) { r.Rules = []rbacv1.PolicyRule{mine} })
	change("system:discovery", func(r *rbacv1.ClusterRole) {
		r.Annotations[rbacv1.AutoUpdateAnnotationKey], r.Rules = "false", []rbacv1.PolicyRule{mine}
	})
	made(t, admin, clusterRole("of-mine", mine))
	stop()
	server, _ = apitest.Run(t, cfg)
	for name, want := range map[string]int{"system:kube-dns": 1, "system:basic-user": 4, "system:discovery": 1, "of-mine": 1} {
		role, err := clientOf(t, server.ClientConfig()).RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		if err != nil || len(role.Rules) != want {
			t.Errorf("%s: %v, %v, want %d rules", name, role.Rules, err, want)
		}
	}
}

func TestAggregatedRolesGather(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	version := func(name string) string {
		role, err := admin.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return role.ResourceVersion
	}
	first := map[string]string{"view": version("view"), "edit": version("edit"), "admin": version("admin")}
	all := clusterRole("all")
	all.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}}}}
	made(t, admin, all)
	eventually(t, "the last of the aggregated roles is filled", func() bool {
		role, err := admin.RbacV1().ClusterRoles().Get(ctx, "all", metav1.GetOptions{})
		return err == nil && len(role.Rules) > 0
	})
	for name, was := range first {
		if version(name) != was {
			t.Errorf("%s was not what upstream gathers: it has been written again", name)
		}
	}
	made(t, admin, clusterBinding("viewers", "view", group("viewers")))
	part := clusterRole("things-view", rule("get", "example.org", "things"))
	part.Labels = map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"}
	made(t, admin, part)
	viewer := clientOf(t, as(t, cfg, "vic", "viewers"))
	eventually(t, "view allows what was added", func() bool { return may(t, viewer, "get", "example.org", "things", "", "default", "") })
	eventually(t, "admin gathers what edit gathers of view", func() bool {
		role, err := admin.RbacV1().ClusterRoles().Get(ctx, "admin", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.APIGroups, "example.org") })
	})
	if err := admin.RbacV1().ClusterRoles().Delete(ctx, part.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "view no longer allows it", func() bool { return !may(t, viewer, "get", "example.org", "things", "", "default", "") })
}

func TestImpersonation(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	made(t, admin,
		clusterRole("play-jane", rbacv1.PolicyRule{Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"users"}, ResourceNames: []string{"jane"}},
			rbacv1.PolicyRule{Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"groups"}, ResourceNames: []string{"readers"}},
			rbacv1.PolicyRule{Verbs: []string{"impersonate"}, APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"userextras/team"}, ResourceNames: []string{"blue"}}),
		clusterBinding("players", "play-jane", group("players")))
	playing := func(config *rest.Config, as rest.ImpersonationConfig) kubernetes.Interface {
		config = rest.CopyConfig(config)
		config.Impersonate = as
		return clientOf(t, config)
	}
	who := func(c kubernetes.Interface) (authenticationv1.UserInfo, error) {
		answer, err := c.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return authenticationv1.UserInfo{}, err
		}
		return answer.Status.UserInfo, nil
	}
	master, player := as(t, cfg, "root", "system:masters"), as(t, cfg, "paul", "players")
	jane := rest.ImpersonationConfig{UserName: "jane", Groups: []string{"readers"}, Extra: map[string][]string{"team": {"blue"}}}
	eventually(t, "the binding counts", func() bool { _, err := who(playing(player, jane)); return err == nil })
	whole := jane
	whole.UID = "7"
	got, err := who(playing(master, whole))
	if err != nil || got.Username != "jane" || got.UID != "7" || !slices.Contains(got.Groups, "readers") || got.Extra["team"][0] != "blue" {
		t.Errorf("an administrator as jane: %+v, %v", got, err)
	}
	_, err = playing(master, jane).CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("an administrator as jane may do what jane may not: %v", err)
	}
	for name, as := range map[string]rest.ImpersonationConfig{
		"another user":      {UserName: "joe"},
		"another group":     {UserName: "jane", Groups: []string{"system:masters"}},
		"a uid":             {UserName: "jane", UID: "7"},
		"other extras":      {UserName: "jane", Extra: map[string][]string{"team": {"red"}}},
		"a node":            {UserName: "system:node:n1", Groups: []string{"system:nodes"}},
		"a service account": {UserName: "system:serviceaccount:default:default"},
	} {
		if _, err := who(playing(player, as)); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoBindingInANamespaceThatEnds(t *testing.T) {
	client := clientOf(t, apitest.Start(t))
	ctx := t.Context()
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := client.RbacV1().RoleBindings("gone").Create(ctx, binding("late", "ClusterRole", "view", group("x")), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("a binding in a namespace that ends: %v", err)
	}
}

func TestAPolicyIsEncryptedWhereEverythingIs(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.Encryption = filepath.Join(t.TempDir(), "encryption.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: ['*.*']\n  providers:\n" +
		"  - secretbox: {keys: [{name: a, secret: " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "}]}\n"
	if err := os.WriteFile(cfg.Encryption, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server, _ := apitest.Run(t, cfg) // plain text could not be read
	role, err := clientOf(t, server.ClientConfig()).RbacV1().ClusterRoles().Get(t.Context(), "view", metav1.GetOptions{})
	if err != nil || len(role.ManagedFields) > 0 {
		t.Errorf("the policy was not written in transactions: %v, %v", role, err)
	}
}
