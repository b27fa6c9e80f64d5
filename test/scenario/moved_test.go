package scenario

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestHostAddressChanges takes the host's address away and gives it another, in a network of its own: kubectl and `status` work
// meanwhile, and then node, Endpoints and listeners have the new one.
func TestHostAddressChanges(t *testing.T) {
	c := newCluster(t)
	script := exec.Command("unshare", "--net", "sh", "-euc", `
fairlead=$0 dir=$1
address() { ip addr add $1/24 dev d0; ip route add default via 192.0.2.1; }
ip link set lo up
ip link add d0 type veth peer name d1
ip link set d0 up; ip link set d1 up
address 192.0.2.10
$fairlead up --name moved --data-dir $dir
trap '$fairlead down --name moved --data-dir $dir' EXIT
ip addr del 192.0.2.10/24 dev d0
$fairlead kubectl --kubeconfig $dir/admin.kubeconfig create configmap meanwhile
address 192.0.2.77
tries=0
until $fairlead status --name moved --data-dir $dir | grep 'ready *192.0.2.77'; do
	tries=$((tries+1)); [ $tries -lt 100 ]; sleep 0.1
done
$fairlead kubectl --kubeconfig $dir/admin.kubeconfig get configmap meanwhile -o name
$fairlead kubectl --kubeconfig $dir/admin.kubeconfig get endpoints kubernetes -o jsonpath='{.subsets[0].addresses[0].ip}{"\n"}'
$fairlead kubectl --server https://192.0.2.77:6443 --kubeconfig $dir/admin.kubeconfig get --raw /readyz
`, binary(t), c.dir)
	r := c.command(script)
	if r.code != 0 || !strings.Contains(r.out, "\n192.0.2.77\nok") {
		log, _ := exec.Command("tail", "-n", "40", c.path("server.log")).CombinedOutput()
		t.Errorf("%v\n%s", r, log)
	}
}

// TestPause stops the control plane for longer than a node may be silent, as a laptop's lid does: no node is blamed for it.
func TestPause(t *testing.T) {
	c := newCluster(t)
	c.up()
	c.images("demoapp")
	c.kubectl("create", "deployment", "web", "--image=ikubernetes/demoapp:v1.0")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	before := c.pods()
	stop := exec.Command("sh", "-c", "kill -STOP $0; sleep 50; kill -CONT $0", strconv.Itoa(c.pid()))
	if out, err := stop.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=30s")
	c.status(0)
	if events := c.kubectl("get", "events", "-A", "--field-selector=reason=NodeNotReady", "-o", "name"); events != "" {
		t.Errorf("a node was blamed: %s", events)
	}
	if now := c.pods(); now != before {
		t.Errorf("pods before\n%safter\n%s", before, now)
	}
}
