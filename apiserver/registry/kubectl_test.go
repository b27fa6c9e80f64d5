package registry_test

import (
	"regexp"
	"strings"
	"testing"
)

// What people type beside get and apply.

func TestM1_M15_DiscoveryNames(t *testing.T) {
	got := start(t).must(t, "", "api-resources", "--no-headers", "--sort-by=name")
	for _, line := range []string{
		`configmaps\s+cm\s+v1\s+true\s+ConfigMap`, `deployments\s+deploy\s+apps/v1\s+true\s+Deployment`, `endpoints\s+ep\s+v1\s+true\s+Endpoints`,
		`endpointslices\s+discovery.k8s.io/v1\s+true\s+EndpointSlice`, `events\s+ev\s+v1\s+true\s+Event`, `leases\s+coordination.k8s.io/v1\s+true\s+Lease`,
		`namespaces\s+ns\s+v1\s+false\s+Namespace`, `nodes\s+no\s+v1\s+false\s+Node`, `pods\s+po\s+v1\s+true\s+Pod`,
		`replicasets\s+rs\s+apps/v1\s+true\s+ReplicaSet`, `secrets\s+v1\s+true\s+Secret`, `serviceaccounts\s+sa\s+v1\s+true\s+ServiceAccount`,
		`services\s+svc\s+v1\s+true\s+Service`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(got) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}

func TestGetAll(t *testing.T) {
	s := start(t)
	s.must(t, nginxDeployment, "apply", "-f", "-")
	s.pod(t, "a", "containers: [{name: a, image: x}]")
	s.must(t, workloadManifest("ReplicaSet", "selector: {matchLabels: {app: web}}, "+webTemplate), "create", "-f", "-")
	names := strings.Fields(s.must(t, "", "get", "all", "-o", "name"))
	if got := strings.Join(names, " "); got != "pod/a service/kubernetes service/nginx-svc deployment.apps/nginx replicaset.apps/x" {
		t.Errorf("all: %s", got)
	}
}

func TestM17_M18_LabelsAndSelectors(t *testing.T) {
	s := start(t)
	for name, labels := range map[string]string{"a": "release: alpha, tier: web", "b": "release: beta, tier: web", "c": "tier: db"} {
		s.must(t, "{apiVersion: v1, kind: Pod, metadata: {name: "+name+", labels: {"+labels+"}}, spec: {containers: [{name: a, image: x}]}}", "create", "-f", "-")
	}
	for selector, want := range map[string]string{
		"release=alpha": "a", "release==beta": "b", "release!=alpha": "b c", "release in (alpha,beta)": "a b", "release notin (alpha)": "b c",
		"release": "a b", "!release": "c", "tier=web,release!=alpha": "b",
	} {
		got := strings.Join(strings.Fields(strings.ReplaceAll(s.must(t, "", "get", "pods", "-l", selector, "-o", "name"), "pod/", "")), " ")
		if got != want {
			t.Errorf("-l %q: %s, want %s", selector, got, want)
		}
	}
	columns(t, s.must(t, "", "get", "pods", "a", "--show-labels"), "NAME READY STATUS RESTARTS AGE LABELS", "a 0/1 Pending 0 * release=alpha,tier=web")
	columns(t, s.must(t, "", "get", "pods", "-L", "tier", "a"), "NAME READY STATUS RESTARTS AGE TIER", "a 0/1 Pending 0 * web")
	if got := s.must(t, "", "label", "pod", "a", "release-"); got != "pod/a unlabeled\n" {
		t.Error(got)
	}
	if stdout, stderr, err := s.kubectl(t, "", "label", "pod", "a", "release-"); err != nil || !strings.Contains(stdout+stderr, `label "release" not found.`) {
		t.Errorf("%s%s%v", stdout, stderr, err)
	}
	stderr := s.refused(t, "", "label", "pod", "a", "bad/key/x=y")
	if !strings.Contains(stderr, "a valid label key must consist of") && !strings.Contains(stderr, "a qualified name must consist of") {
		t.Error(stderr)
	}
}

func TestRolloutCommands(t *testing.T) {
	s := start(t)
	s.must(t, nginxDeployment, "apply", "-f", "-")
	s.must(t, "", "rollout", "restart", "deployment/nginx")
	s.must(t, "", "rollout", "pause", "deployment/nginx")
	s.must(t, "", "rollout", "resume", "deployment/nginx")
	s.must(t, "", "set", "image", "deployment/nginx", "nginx=nginx:1.14.1")
	s.must(t, "", "expose", "deployment", "nginx", "--name=front", "--port=80")
	if got := s.must(t, "", "get", "svc", "front", "-o", "jsonpath={.spec.selector.app} {.spec.ports[0].targetPort}"); got != "nginx 80" {
		t.Errorf("S162: %s", got)
	}
	s.must(t, "", "create", "service", "nodeport", "np", "--tcp=80:8080", "--node-port=30099")
	s.must(t, "", "delete", "svc", "np", "front")
	s.must(t, "", "delete", "deployment", "nginx", "--wait=false")
}

func TestStrictFieldsAndDiff(t *testing.T) {
	s := start(t)
	stderr := s.refused(t, "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: [{port: 80}], ports: [{port: 80}]}}", "apply", "-f", "-")
	if !strings.Contains(stderr, `unknown field "spec.prots"`) {
		t.Error(stderr)
	}
	s.must(t, harbor, "apply", "-f", "-")
	if stdout, stderr, err := s.kubectl(t, harbor, "diff", "-f", "-"); err != nil {
		t.Errorf("applying it again would change something: %s%s", stdout, stderr)
	}
}
