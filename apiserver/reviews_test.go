package apiserver_test

import (
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

func TestReviewsOfRights(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	made(t, admin, clusterBinding("viewers", "view", group("viewers")), clusterBinding("delegators", "system:auth-delegator", group("delegators")))
	delegator := clientOf(t, as(t, cfg, "del", "delegators"))
	eventually(t, "the last binding counts", func() bool {
		return may(t, delegator, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", "")
	})
	list := &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: "default"}
	ofNode := list.DeepCopy()
	ofNode.FieldSelector = &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{{Key: "spec.nodeName", Operator: "In", Values: []string{"n1"}}}}
	for name, c := range map[string]struct {
		spec    authorizationv1.SubjectAccessReviewSpec
		allowed bool
		want    string // what a refusal says
	}{
		"a viewer":             {authorizationv1.SubjectAccessReviewSpec{User: "x", Groups: []string{"viewers"}, ResourceAttributes: list}, true, ""},
		"a stranger":           {authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: list}, false, ""},
		"a path":               {authorizationv1.SubjectAccessReviewSpec{User: "x", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/healthz"}}, true, ""},
		"a node, all pods":     {authorizationv1.SubjectAccessReviewSpec{User: "system:node:n1", Groups: []string{"system:nodes"}, ResourceAttributes: list}, false, ""},
		"a node, its own pods": {authorizationv1.SubjectAccessReviewSpec{User: "system:node:n1", Groups: []string{"system:nodes"}, ResourceAttributes: ofNode}, true, ""},
		"callers of agents":    {authorizationv1.SubjectAccessReviewSpec{User: "x", Groups: []string{"fairlead:agent-callers", "system:masters"}, ResourceAttributes: list}, false, ""},
		"nobody":               {authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: list}, false, "at least one of user or group must be specified"},
		"nothing":              {authorizationv1.SubjectAccessReviewSpec{User: "x"}, false, "exactly one of nonResourceAttributes or resourceAttributes must be specified"},
	} {
		answer, err := delegator.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: c.spec}, metav1.CreateOptions{})
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case c.want == "" && (err != nil || answer.Status.Allowed != c.allowed):
			t.Errorf("%s: %+v, %v", name, answer.Status, err)
		}
	}
	local := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system"}, Spec: authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: list}}
	_, err := admin.AuthorizationV1().LocalSubjectAccessReviews("kube-system").Create(ctx, local, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "spec.resourceAttributes.namespace: Invalid value: \"default\": must match metadata.namespace") {
		t.Errorf("a review for another namespace: %v", err)
	}
	viewer := clientOf(t, as(t, cfg, "vic", "viewers"))
	rules, err := viewer.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	if err != nil || rules.Status.Incomplete || !slices.ContainsFunc(rules.Status.ResourceRules, func(r authorizationv1.ResourceRule) bool { return slices.Contains(r.Resources, "pods/log") }) {
		t.Errorf("rules of a viewer: %+v, %v", rules.Status, err)
	}
}
