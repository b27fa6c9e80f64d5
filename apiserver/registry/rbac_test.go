package registry_test

import (
	"strings"
	"testing"
)

// What upstream's registry decides of a kind that is not ours comes out in its words.
func TestRulesOfUpstream(t *testing.T) {
	s := start(t)
	s.must(t, "", "create", "role", "reader", "--verb=get,list", "--resource=pods")
	s.must(t, "", "create", "rolebinding", "readers", "--role=reader", "--user=jane", "--serviceaccount=default:robot")
	columns(t, s.must(t, "", "get", "role", "reader"), "NAME CREATED AT", "reader *")
	columns(t, s.must(t, "", "get", "rolebinding", "readers", "-o", "wide"), "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS", "readers Role/reader * jane default/robot")
	columns(t, s.must(t, "", "get", "rolebindings", "--field-selector", "metadata.name=readers"), "NAME ROLE AGE", "readers Role/reader *")
	for manifest, want := range map[string]string{
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x}, rules: [{apiGroups: [\"\"], resources: [pods]}]}":                                                    "rules[0].verbs: Required value",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Rule, name: x}}":                         `roleRef.kind: Unsupported value: "Rule": supported values: "Role", "ClusterRole"`,
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x}, rules: [{verbs: [get], nonResourceURLs: [/x]}]}":                                                     "rules[0].nonResourceURLs: Invalid value:",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: readers}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: other}, subjects: []}": "",
	} {
		if want != "" {
			if stderr := s.refused(t, manifest, "create", "-f", "-"); !strings.Contains(stderr, want) {
				t.Errorf("%s: %s", manifest, stderr)
			}
		} else if stderr := s.refused(t, manifest, "apply", "-f", "-"); !strings.Contains(stderr, "roleRef: Invalid value") {
			t.Errorf("%s: %s", manifest, stderr)
		}
	}
}
