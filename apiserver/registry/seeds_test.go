package registry_test

import (
	"regexp"
	"strings"
	"testing"
)

// The manifests of this file are the ones people copy from the web; they must work as they are.

const nginxDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    app: nginx
  name: nginx
spec:
  replicas: 2
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx:latest
        imagePullPolicy: IfNotPresent
        command:
        - nginx
        - -g
        - "daemon off;"
        workingDir: /usr/share/nginx/html
        ports:
        - name: http
          containerPort: 80
          protocol: TCP
---
apiVersion: v1
kind: Service
metadata:
  name: nginx-svc
spec:
  ports:
  - port: 80
    targetPort: 80
  selector:
    app: nginx
`

const externalEtcd = `
apiVersion: v1
kind: Service
metadata:
  name: etcd-k8s
  namespace: kube-system
spec:
  type: ClusterIP
  ports:
  - name: port
    port: 2379
    protocol: TCP
---
apiVersion: v1
kind: Endpoints
metadata:
  name: etcd-k8s
  namespace: kube-system
subsets:
- addresses:
  - ip: 178.104.163.38
    nodeName: etc-master1
  - ip: 178.104.163.187
    nodeName: etc-master2
  - ip: 178.104.163.243
    nodeName: etc-master3
  ports:
  - name: port
    port: 2379
    protocol: TCP
`

const harbor = `
apiVersion: v1
kind: Endpoints
metadata:
    name: harbor-huangxin
subsets:
    - addresses:
      - ip: 10.0.0.250
      ports:
      - port: 80
        protocol: TCP
---
apiVersion: v1
kind: Service
metadata:
    name: harbor-huangxin
spec:
    type: ClusterIP
    ports:
        - port: 80
          targetPort: 80
`

const externalName = `
apiVersion: v1
kind: Service
metadata:
  name: external-api-server
spec:
  type: ExternalName
  externalName: api.example.com
  ports:
  - port: 80
`

// columns compares lines with what kubectl printed, ignoring how wide the columns are; a word "*" matches any word.
func columns(t *testing.T, got string, want ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), got)
	}
	for i, line := range lines {
		pattern := regexp.QuoteMeta(strings.Join(strings.Fields(want[i]), " "))
		pattern = "^" + strings.ReplaceAll(pattern, `\*`, `\S+`) + "$"
		if line = strings.Join(strings.Fields(line), " "); !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("line %d:\n got %s\nwant %s", i, line, want[i])
		}
	}
}

func TestManifestsOfTheWebWork(t *testing.T) {
	s := start(t)
	for _, manifest := range []string{nginxDeployment, externalEtcd, harbor, externalName} {
		s.must(t, manifest, "apply", "-f", "-")
		s.must(t, manifest, "apply", "-f", "-") // and again
		s.must(t, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-")
	}
	columns(t, s.must(t, "", "get", "svc,endpoints", "harbor-huangxin"),
		"NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
		"service/harbor-huangxin ClusterIP * <none> 80/TCP *",
		"",
		"NAME ENDPOINTS AGE",
		"endpoints/harbor-huangxin 10.0.0.250:80 *")
	columns(t, s.must(t, "", "get", "ep", "-n", "kube-system", "etcd-k8s"),
		"NAME ENDPOINTS AGE",
		"etcd-k8s 178.104.163.38:2379,178.104.163.187:2379,178.104.163.243:2379 *")
	columns(t, s.must(t, "", "get", "deploy", "nginx", "-o", "wide"),
		"NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
		"nginx 0/2 0 0 * nginx nginx:latest app=nginx")
	columns(t, s.must(t, "", "get", "svc", "external-api-server"),
		"NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
		"external-api-server ExternalName <none> api.example.com 80/TCP *")
	got := s.must(t, "", "describe", "svc", "harbor-huangxin")
	for _, line := range []string{"Selector: <none>", "Type: ClusterIP", "IP Family Policy: SingleStack", "IP Families: IPv4", "Port: <unset> 80/TCP", "TargetPort: 80/TCP", "Session Affinity: None"} {
		if !strings.Contains(strings.Join(strings.Fields(got), " "), line) {
			t.Errorf("describe lacks %q:\n%s", line, got)
		}
	}
	resources := s.must(t, "", "api-resources", "--no-headers")
	if !regexp.MustCompile(`(?m)^endpoints\s+ep\s+v1\s+true\s+Endpoints$`).MatchString(resources) {
		t.Errorf("api-resources:\n%s", resources)
	}
	_, stderr, err := s.kubectl(t, "", "get", "endpoints")
	if want := "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"; err != nil || stderr != want {
		t.Errorf("E38: the warning is %q, %v", stderr, err)
	}
}
