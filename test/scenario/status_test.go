package scenario

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestStatusServices runs a lab and finds in `status --services` what its nodes' kernels have: a Service with pods, one without,
// and a node that does not answer.
func TestStatusServices(t *testing.T) {
	c := newCluster(t)
	c.must("up", "--data-dir", c.dir, "--name", "flstatus", "--port", "7547", "--nodes", "2")
	c.images("demoapp")
	c.kubectl("create", "deployment", "web", "--image=ikubernetes/demoapp:v1.0", "--replicas=2")
	c.kubectl("expose", "deployment", "web", "--port=80")
	c.kubectl("create", "service", "clusterip", "lonely", "--tcp=80")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	ip := c.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	const asked = 12
	eventually(t, "a node reaches the Service", func() error {
		return failure(c.fairlead("node", "exec", "--data-dir", c.dir, "node1", "--", "curl", "-sf", "-m", "2", "-o", "/dev/null", "http://"+ip+"/"))
	})
	for range asked - 1 {
		c.must("node", "exec", "--data-dir", c.dir, "node1", "--", "curl", "-sf", "-o", "/dev/null", "http://"+ip+"/")
	}
	matches := func(pattern string) func() error {
		return func() error {
			r := c.fairlead("status", "--services", "--data-dir", c.dir)
			if r.code != 0 || !regexp.MustCompile(pattern).MatchString(r.out) {
				return fmt.Errorf("want %s, got %v", pattern, r)
			}
			return nil
		}
	}
	eventually(t, "the Service with pods", matches(`(?m)^default/web +`+regexp.QuoteMeta(ip)+` +2/2 +\d+ +on all 2 nodes, for \d+s$`))
	for _, node := range []string{"node1", "node2"} {
		eventually(t, "its pod on "+node, matches(`(?m)^  on `+node+` +10\.244\.\d+\.\d+:80 +ready +\d+$`))
	}
	eventually(t, "the Service without pods", matches(`(?m)^default/lonely +10\.\S+ +0/0 +0 +on all 2 nodes, for \d+s$`))
	eventually(t, "the DNS Service", matches(`(?m)^kube-system/kube-dns +10\.96\.0\.10 +\S+ +- +by fairlead-dns$`))

	var all []struct {
		Name        string
		Connections int
		Since       time.Time
		Nodes       []string
		Endpoints   []struct{ Connections int }
	}
	if err := json.Unmarshal([]byte(c.must("status", "--services", "-o", "json", "--data-dir", c.dir)), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == "web" && (s.Connections != asked || len(s.Endpoints) != 2 || s.Endpoints[0].Connections+s.Endpoints[1].Connections != asked || len(s.Nodes) != 2 || s.Since.IsZero()) {
			t.Errorf("web: %+v, want %d connections", s, asked)
		}
	}
	metrics := c.kubectl("get", "--raw", "/api/v1/nodes/node1/proxy/metrics")
	for _, name := range []string{`fairlead_endpoint_connections_total{endpoint="10.244.`, "kubeproxy_sync_proxy_rules_duration_seconds_count ", "coredns_dns_request_duration_seconds_count{", "process_resident_memory_bytes "} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("%s is not among the metrics of node1", name)
		}
	}
	refused(t, c.fairlead("status", "-o", "json", "--data-dir", c.dir), "together with --services")
	c.down("--keep-data")
	refused(t, c.fairlead("status", "--services", "--data-dir", c.dir), "is not running")
}
