package apiserver_test

import (
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/internal/apitest"
)

// post sends a manifest to a path, and returns what is said against it; "": nothing.
func post(t *testing.T, client kubernetes.Interface, path, manifest string) string {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Error(); err != nil {
		return err.Error()
	}
	return ""
}

const (
	podsPath      = "/api/v1/namespaces/default/pods"
	servicesPath  = "/api/v1/namespaces/default/services"
	endpointsPath = "/api/v1/namespaces/default/endpoints"
	slicesPath    = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
)

// TestKnownAttacks: what was a hole in Kubernetes once, or is one by design, is refused.
func TestKnownAttacks(t *testing.T) {
	client := clientOf(t, apitest.Start(t))
	strict := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "strict", Annotations: map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}}}
	if _, err := client.CoreV1().ServiceAccounts("default").Create(t.Context(), strict, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	slice := func(addressType, address string) string {
		return "{metadata: {generateName: s-}, addressType: " + addressType + ", endpoints: [{addresses: ['" + address + "']}], ports: []}"
	}
	pod := func(spec string) string {
		return "{metadata: {generateName: p-}, spec: {serviceAccountName: strict, automountServiceAccountToken: false, " + spec + "}}"
	}
	const notListed = "because service account strict does not reference that secret"
	for _, test := range []struct{ cve, path, manifest, want string }{
		{"CVE-2020-8554", servicesPath, "{metadata: {name: s}, spec: {externalIPs: [192.0.2.1], ports: [{port: 80}]}}", "external IPs are refused"},
		{"CVE-2021-25737", slicesPath, slice("IPv4", "127.0.0.1"), "may not be in the loopback range"},
		{"CVE-2021-25737", slicesPath, slice("IPv4", "169.254.169.254"), "may not be in the link-local range"},
		{"CVE-2021-25737", slicesPath, slice("IPv6", "::ffff:127.0.0.1"), "Invalid value"},
		{"CVE-2021-25737", endpointsPath, "{metadata: {name: e}, subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{port: 80}]}]}", "may not be in the loopback range"},
		{"CVE-2024-10220", podsPath, pod("containers: [{name: c, image: i}], volumes: [{name: v, gitRepo: {repository: /x}}]"), "this kind of volume is not supported"},
		{"CVE-2023-2728", podsPath, pod("containers: [{name: c, image: i}], volumes: [{name: v, secret: {secretName: other}}]"), notListed},
		{"CVE-2024-3177", podsPath, pod("containers: [{name: c, image: i, envFrom: [{secretRef: {name: other}}]}]"), notListed},
		{"CVE-2024-3177", podsPath, pod("initContainers: [{name: first, image: i, envFrom: [{secretRef: {name: other}}]}], containers: [{name: c, image: i}]"), notListed},
		{"CVE-2025-4563", podsPath, pod("nodeName: n1, containers: [{name: c, image: i}], resourceClaims: [{name: r, resourceClaimName: r}]"), "dynamic resource allocation is not supported"},
	} {
		if got := post(t, client, test.path, test.manifest); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s\n got %s\nwant %s", test.cve, test.manifest, got, test.want)
		}
	}
	if got := post(t, client, podsPath, "{metadata: {name: debugged}, spec: {nodeName: n1, serviceAccountName: strict, containers: [{name: c, image: i}]}}"); got != "" {
		t.Fatal(got)
	}
	debug := `{"spec":{"ephemeralContainers":[{"name":"d","image":"i","envFrom":[{"secretRef":{"name":"other"}}]}]}}`
	_, err := client.CoreV1().Pods("default").Patch(t.Context(), "debugged", types.StrategicMergePatchType, []byte(debug), metav1.PatchOptions{}, "ephemeralcontainers")
	if err == nil || !strings.Contains(err.Error(), notListed) {
		t.Errorf("CVE-2023-2728, CVE-2024-3177: by an ephemeral container: %v", err)
	}
}

// TestNobodyRedirectsOthersByTheirEndpoints (CVE-2021-25740, CVE-2020-8554): members of the default roles write no endpoints, and no
// addresses of load balancers.
func TestNobodyRedirectsOthersByTheirEndpoints(t *testing.T) {
	client := clientOf(t, apitest.Start(t))
	for _, role := range []string{"edit", "admin"} {
		binding := "{metadata: {name: " + role + "}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: " + role + "}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: " + role + "}]}"
		if got := post(t, client, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding); got != "" {
			t.Fatal(got)
		}
		apitest.Eventually(t, func() string { // roles count a moment later
			if !allowed(t, client, role, authorizationv1.ResourceAttributes{Namespace: "default", Verb: "create", Resource: "services"}) {
				return role + " writes no Services"
			}
			return ""
		})
		for _, what := range []authorizationv1.ResourceAttributes{
			{Verb: "create", Resource: "endpoints"}, {Verb: "update", Resource: "endpoints"}, {Verb: "update", Resource: "services", Subresource: "status"},
			{Verb: "create", Group: "discovery.k8s.io", Resource: "endpointslices"}, {Verb: "patch", Group: "discovery.k8s.io", Resource: "endpointslices"},
			{Verb: "list", Group: "other.example.com", Resource: "services"}, // CVE-2022-3162: of another group
		} {
			what.Namespace = "default"
			if allowed(t, client, role, what) {
				t.Errorf("a member of %s may %+v", role, what)
			}
		}
	}
}

func allowed(t *testing.T, client kubernetes.Interface, user string, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &what}}
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}
