package scenario

import (
	"strings"
	"syscall"
	"testing"
)

// TestNothingStaysBehind compares a listing of the host from before `up` with one from after `down`: rules, links,
// addresses, routes, namespaces, mounts, control groups, settings, processes and files.
func TestNothingStaysBehind(t *testing.T) {
	before := trace(t)
	c := newCluster(t)
	c.up()
	c.web(2)
	c.down()
	unchanged(t, before)
}

// TestNothingStaysBehindAfterKill is the same with the program and containerd killed before `down`.
func TestNothingStaysBehindAfterKill(t *testing.T) {
	before := trace(t)
	c := newCluster(t)
	c.up()
	c.web(2)
	containerd := c.containerd()
	kill(t, c.keeper())
	kill(t, c.pid())
	kill(t, containerd)
	c.down()
	unchanged(t, before)
}

// TestCrash kills the main process with running pods: traffic flows meanwhile, and the next, which nobody has to start,
// creates nothing twice, restarts nothing and loses nothing.
func TestCrash(t *testing.T) {
	c := newCluster(t)
	c.up()
	url := c.web(3)
	c.kubectl("create", "configmap", "kept", "--from-literal=a=b")
	pods := c.pods()
	if strings.Count(pods, "\n") != 3 {
		t.Fatalf("pods before the crash:\n%s", pods)
	}
	kill(t, c.pid())
	for range 30 {
		if err := ask(url); err != nil {
			t.Fatalf("traffic while the program is dead: %v", err)
		}
	}
	c.back()
	if now := c.pods(); now != pods {
		t.Errorf("pods changed over the crash:\nbefore\n%safter\n%s", pods, now)
	}
	if got := c.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		t.Errorf("configmap: %q", got)
	}
	if err := ask(url); err != nil {
		t.Errorf("traffic after the restart: %v", err)
	}
	c.kubectl("scale", "deployment", "web", "--replicas=4")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
}

// TestAcknowledgedWritesSurviveKill writes until the program is killed and finds every acknowledged object again.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	c := newCluster(t)
	c.up()
	for i := range 5 {
		c.kubectl("create", "configmap", "n"+string(rune('a'+i)), "--from-literal=k=v")
	}
	if err := syscall.Kill(c.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.back()
	got := c.kubectl("get", "configmaps", "-o", "name")
	for i := range 5 {
		if want := "configmap/n" + string(rune('a'+i)) + "\n"; !strings.Contains(got, want) {
			t.Errorf("%s is lost; there are\n%s", want, got)
		}
	}
}

// TestKeepData takes the cluster down with its data kept: nothing runs, and the next `up` brings everything back.
func TestKeepData(t *testing.T) {
	c := newCluster(t)
	c.up()
	url := c.web(2)
	before := c.kubectl("get", "svc,deploy", "-o", "name")
	c.down("--keep-data")
	if diff := running(c.dir); len(diff) > 0 {
		t.Errorf("still running after down --keep-data: %v", diff)
	}
	c.up()
	if now := c.kubectl("get", "svc,deploy", "-o", "name"); now != before {
		t.Errorf("objects before\n%safter\n%s", before, now)
	}
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	eventually(t, "the Service answers again", func() error { return ask(url) })
}

// TestEveryKindComesBack begins again with objects of all kinds whose controllers wait for the first: after the program and containerd were killed, and
// with the data kept. What a pod has written to its claim is there each time.
func TestEveryKindComesBack(t *testing.T) {
	c := newCluster(t)
	c.up()
	c.images("busybox")
	c.kubectl("apply", "-f", "testdata/kinds.yaml")
	c.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
	c.kubectl("exec", "db-0", "--", "sh", "-c", "echo kept > /data/f")
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"a pod deleted", func() { c.kubectl("delete", "pod", "db-0") }},
		{"the program and containerd killed", func() {
			kill(t, c.keeper())
			kill(t, c.pid())
			kill(t, c.containerd())
			c.up()
		}},
		{"data kept", func() {
			c.down("--keep-data")
			c.up()
		}},
	} {
		step.do()
		c.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
		eventually(t, step.what+": the file is there", func() error {
			if r := c.fairlead("kubectl", "--kubeconfig", c.path("admin.kubeconfig"), "exec", "db-0", "--", "cat", "/data/f"); r.out != "kept\n" {
				return failure(r)
			}
			return nil
		})
	}
}
