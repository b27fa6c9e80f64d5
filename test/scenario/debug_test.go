package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDebug asks a node for what it knows, and sends packets through its rules that no kernel sees.
func TestDebug(t *testing.T) {
	c := newCluster(t)
	c.up()
	c.kubectl("create", "service", "clusterip", "web", "--tcp=80:8080", "--clusterip=10.96.0.77")
	slice := filepath.Join(t.TempDir(), "slice.yaml")
	if err := os.WriteFile(slice, []byte(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: 80-8080, port: 8080, protocol: TCP}]
endpoints: [{addresses: [192.0.2.10], conditions: {ready: true}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.kubectl("apply", "-f", slice)
	debug := func(args ...string) string {
		t.Helper()
		r := c.fairlead(append([]string{"debug"}, append(args, "--data-dir", c.dir)...)...)
		if r.code != 0 {
			t.Fatalf("debug %v: %v", args, r)
		}
		return r.out
	}
	for what, want := range map[string][]string{
		debug("service", "web"):                        {"service default/web type ClusterIP", "10.96.0.77:80", "192.0.2.10:8080"},
		debug("name", "web.default.svc.cluster.local"): {"IN A 10.96.0.77"},
		debug("rules"):                                 {"table ip fairlead", "10.96.0.77 . tcp . 80"},
		debug("packet", "192.0.2.99", "10.96.0.77:80"): {"to 192.0.2.10:8080"},
		debug("packet", "192.0.2.99", "10.96.0.77:81"): {"refuse"},
	} {
		for _, text := range want {
			if !strings.Contains(what, text) {
				t.Errorf("not %q in\n%s", text, what)
			}
		}
	}
	refused(t, c.fairlead("debug", "service", "none", "--data-dir", c.dir), "service default/none: this node knows none of the name")
	refused(t, c.fairlead("debug", "packet", "a", "10.96.0.77:80", "--data-dir", c.dir), `from "a": want an address`)
	refused(t, c.fairlead("debug", "packet", "192.0.2.99", "[::1]:80", "--data-dir", c.dir), "different IP versions")
	refused(t, c.fairlead("debug", "rules", "--node", "nobody", "--data-dir", c.dir), `no node is named "nobody"; there are: `)
	c.down()
	refused(t, c.fairlead("debug", "rules", "--data-dir", c.dir), "fairlead up")
}
