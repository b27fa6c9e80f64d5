package scenario

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/host/netns"
)

// asker asks a URL again and again, a new connection each time, and remembers who answered and what failed.
type asker struct {
	t      *testing.T
	client http.Client
	url    string
	stop   context.CancelFunc
	idle   sync.WaitGroup

	mu       sync.Mutex
	answers  map[string]int // by version and pod
	failures []string
}

// pace is how long one of an asker's clients pauses between requests: enough to ask a few hundred times a second without
// taking the machine from what is tested.
const pace = 20 * time.Millisecond

// who is the version and the pod in demoapp's answer.
var who = regexp.MustCompile(`demoapp (\S+) !! .*ServerName: (\S+),`)

// asks starts clients inside a network namespace, or on the host if none is given.
func asks(t *testing.T, space, url string) *asker {
	dialer := &net.Dialer{}
	a := &asker{t: t, url: url, answers: map[string]int{}, client: http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			if space == "" {
				return dialer.DialContext(ctx, network, address)
			}
			err = netns.Do(space, func() error {
				conn, err = dialer.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	a.stop = cancel
	for range 4 {
		a.idle.Go(func() {
			ticker := time.NewTicker(pace)
			defer ticker.Stop()
			for ctx.Err() == nil {
				a.ask()
				<-ticker.C
			}
		})
	}
	return a
}

func (a *asker) ask() {
	resp, err := a.client.Get(a.url)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := who.FindStringSubmatch(string(body))
	switch {
	case err != nil:
		a.failures = append(a.failures, time.Now().Format("15:04:05.000 ")+err.Error())
	case m == nil:
		a.failures = append(a.failures, fmt.Sprintf("%s: %q", resp.Status, body))
	default:
		a.answers[m[1]+" "+m[2]]++
	}
}

// seen lists who has answered since the last time it was asked.
func (a *asker) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.Sorted(maps.Keys(a.answers))
	clear(a.answers)
	return list
}

// answeredBy waits until n pods of a version answer, and nobody else.
func (a *asker) answeredBy(n int, version string) {
	a.t.Helper()
	a.seen()
	eventually(a.t, fmt.Sprintf("%s is answered by %d of %s", a.url, n, version), func() error {
		time.Sleep(50 * pace)
		list := a.seen()
		if len(list) != n || slices.ContainsFunc(list, func(who string) bool { return !strings.HasPrefix(who, version+" ") }) {
			return fmt.Errorf("answers of %v", list)
		}
		return nil
	})
}

// ended stops asking and fails the test for every request that failed.
func (a *asker) ended() {
	a.t.Helper()
	a.stop()
	a.idle.Wait()
	if n := len(a.failures); n > 0 {
		a.t.Errorf("%s: %d requests failed: %s", a.url, n, strings.Join(a.failures[:min(n, 10)], "\n"))
	}
}

// serving is a Deployment whose pods go on serving for two seconds after they were asked to end, and its Service.
const serving = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: demoapp
        image: ikubernetes/demoapp:v1.0
        readinessProbe: {httpGet: {path: /readyz, port: 80}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "2"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
`

// lab starts two nodes with a Deployment under constant traffic: from node1 to the ClusterIP, from the host to node2's
// node port.
func (c *cluster) lab(replicas int) []*asker {
	c.t.Helper()
	c.up("--nodes", "2")
	c.images("demoapp", "demoapp-v1.1")
	file := filepath.Join(c.t.TempDir(), "web.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, serving, replicas), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("apply", "-f", file)
	c.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
	get := func(what ...string) string { return c.kubectl(append([]string{"get"}, what...)...) }
	port := get("svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
	urls := map[string]string{
		"http://" + get("svc", "web", "-o", "jsonpath={.spec.clusterIP}"):                              c.path("netns", "node1"),
		"http://" + get("node", "node2", "-o", "jsonpath={.status.addresses[0].address}") + ":" + port: "",
	}
	var all []*asker
	for url, space := range urls {
		a := asks(c.t, space, url)
		eventually(c.t, url+" answers", func() error {
			if len(a.seen()) == 0 {
				return fmt.Errorf("no answer yet")
			}
			return nil
		})
		a.mu.Lock()
		a.failures = nil // of the time before it answered
		a.mu.Unlock()
		all = append(all, a)
	}
	return all
}

// TestP104_RollingUpdate replaces ten pods by newer ones under constant traffic. The application goes on serving while it
// ends, which is its part; then no request fails.
func TestP104_RollingUpdate(t *testing.T) {
	c := newCluster(t)
	traffic := c.lab(10)
	for _, a := range traffic {
		a.answeredBy(10, "v1.0")
	}
	c.kubectl("set", "image", "deployment/web", "demoapp=ikubernetes/demoapp:v1.1")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
	for _, a := range traffic {
		a.answeredBy(10, "v1.1")
	}
	c.kubectl("scale", "deployment/web", "--replicas=2")
	for _, a := range traffic {
		a.answeredBy(2, "v1.1")
	}
	for _, a := range traffic {
		a.ended()
	}
}

// TestAgentDies kills the agent of each node under constant traffic. The lab starts it again; no request fails, no pod
// is touched, and what changed meanwhile is in the kernel of both nodes afterwards.
func TestAgentDies(t *testing.T) {
	c := newCluster(t)
	traffic := c.lab(4)
	pods := c.pods()
	for _, node := range []string{"node1", "node2"} {
		kill(t, c.agent(node))
		c.kubectl("annotate", "service", "web", "seen-"+node+"=killed")
		eventually(t, "the agent of "+node+" is back and answers", func() error {
			return failure(c.fairlead("kubectl", "--kubeconfig", c.path("admin.kubeconfig"), "get", "--raw", "/api/v1/nodes/"+node+"/proxy/healthz"))
		})
	}
	if now := c.pods(); now != pods {
		t.Errorf("pods before\n%safter\n%s", pods, now)
	}
	kill(t, c.agent("node1"))
	kill(t, c.agent("node2"))
	c.kubectl("scale", "deployment/web", "--replicas=6") // while nobody is there to see it
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	for _, a := range traffic {
		a.answeredBy(6, "v1.0")
		a.ended()
	}
}
