package scenario

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOddHostNames: a host name that a node can have once it is written as one does; and a host that is renamed stays the node
// that its pods are bound to.
func TestOddHostNames(t *testing.T) {
	for _, c := range []struct{ host, node string }{{"Some.Host.Example", "some.host.example"}, {"localhost", "localhost"}, {"dotted.", "dotted"}} {
		cluster := newCluster(t)
		up := func(host string) {
			t.Helper()
			if r := cluster.command(exec.Command("unshare", "--uts", "sh", "-c", `printf %s "$0" >/proc/sys/kernel/hostname && exec "$@"`, host, binary(t), "up", "--data-dir", cluster.dir)); r.code != 0 {
				t.Fatalf("host %q: %v", host, r)
			}
		}
		up(c.host)
		cluster.down("--keep-data")
		up("other")
		if got := strings.TrimSpace(cluster.kubectl("get", "nodes", "-o", "name")); got != "node/"+c.node {
			t.Errorf("host %q: %s", c.host, got)
		}
		cluster.status(0)
		cluster.down()
	}
}
