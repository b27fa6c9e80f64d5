package scenario

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/host"
)

// cluster is a cluster of which this host is the node.
type cluster struct {
	t    *testing.T
	dir  string
	home string
}

// newCluster names a cluster that has not been started. It is removed at the end of the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	c := &cluster{t: t, dir: filepath.Join("/var/lib", fmt.Sprintf("fl-scenario-%d", os.Getpid())), home: t.TempDir()}
	t.Cleanup(func() {
		if _, err := os.Stat(c.dir); err == nil {
			if t.Failed() {
				log, _ := os.ReadFile(c.path("server.log"))
				t.Logf("server.log:\n%s", tail(log, 60))
			}
			c.races()
			c.fairlead("down", "--data-dir", c.dir)
			os.RemoveAll(c.dir)
		}
	})
	return c
}

func tail(text []byte, n int) string {
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

func (r result) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// programEnv names another program than the usual one, such as one with the race detector.
const programEnv = "FAIRLEAD_PROGRAM"

func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(cmp.Or(os.Getenv(programEnv), "../../bin/fairlead"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v; build it with 'make build images'", err)
	}
	return path
}

// fairlead runs the program with a home directory of its own.
func (c *cluster) fairlead(args ...string) result {
	return c.command(exec.Command(binary(c.t), args...))
}

func (c *cluster) command(cmd *exec.Cmd) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "HOME="+c.home, "KUBECONFIG=", "KUBECACHEDIR="+filepath.Join(c.home, "cache"))
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		c.t.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

func (c *cluster) must(args ...string) string {
	c.t.Helper()
	r := c.fairlead(args...)
	if r.code != 0 {
		c.t.Fatalf("fairlead %s: %v", strings.Join(args, " "), r)
	}
	return r.out
}

func (c *cluster) up(flags ...string) {
	c.t.Helper()
	c.must(append([]string{"up", "--data-dir", c.dir}, flags...)...)
}

func (c *cluster) down(args ...string) {
	c.t.Helper()
	c.races()
	c.must(append([]string{"down", "--data-dir", c.dir}, args...)...)
}

// races fails the test if the race detector, where the program has it, found anything.
func (c *cluster) races() {
	c.t.Helper()
	log, _ := os.ReadFile(c.path("server.log")) // there is none once the cluster is down
	if _, report, found := bytes.Cut(log, []byte("WARNING: DATA RACE")); found {
		c.t.Errorf("WARNING: DATA RACE%s", report[:min(len(report), 6000)])
	}
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	return c.must(append([]string{"kubectl", "--kubeconfig", c.path("admin.kubeconfig")}, args...)...)
}

// images loads what the tests run.
func (c *cluster) images(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.must("image", "import", "--data-dir", c.dir, "../../build/images/"+name+".tar")
	}
}

// web deploys demoapp behind a Service and returns the Service's address once it answers.
func (c *cluster) web(replicas int) string {
	c.t.Helper()
	c.images("demoapp")
	c.kubectl("create", "deployment", "web", "--image=ikubernetes/demoapp:v1.0", "--replicas="+strconv.Itoa(replicas))
	c.kubectl("expose", "deployment", "web", "--port=80")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	url := c.url(0)
	eventually(c.t, "the Service answers", func() error { return ask(url) })
	return url
}

// url leads to the i-th address of the Service of web.
func (c *cluster) url(i int) string {
	c.t.Helper()
	ip := c.kubectl("get", "svc", "web", "-o", fmt.Sprintf("jsonpath={.spec.clusterIPs[%d]}", i))
	return "http://" + net.JoinHostPort(ip, "80") + "/"
}

func ask(url string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), "ServerName: web-") {
		err = fmt.Errorf("%s answers %q, which is no pod of the Deployment", url, body)
	}
	return err
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pods describes every pod by what must survive a crash: identity, address, containers, restarts.
func (c *cluster) pods() string {
	c.t.Helper()
	return c.kubectl("get", "pods", "-A", "-o", `jsonpath={range .items[*]}{.metadata.uid} {.status.podIP} {.status.containerStatuses[*].containerID} {.status.containerStatuses[*].restartCount}{"\n"}{end}`)
}

// pid is the cluster's main process.
func (c *cluster) pid() int { return c.holder("lock") }

// keeper is the process that starts the main one again.
func (c *cluster) keeper() int { return c.holder("keeper.lock") }

func (c *cluster) holder(lock string) int {
	c.t.Helper()
	text, err := os.ReadFile(c.path(lock))
	if err != nil {
		c.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		c.t.Fatal(err)
	}
	return pid
}

// back waits until a cluster whose main process was killed is healthy again by itself.
func (c *cluster) back() {
	c.t.Helper()
	eventually(c.t, "it is started again", func() error { return failure(c.fairlead("status", "--data-dir", c.dir)) })
}

// kill ends a process at once and waits until it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	eventually(t, "the killed process is gone", func() error {
		if p.Signal(nil) != nil || zombie(pid) {
			return nil
		}
		return fmt.Errorf("process %d lives", pid)
	})
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// running lists the processes that name the directory in their command line.
func running(dir string) []string {
	var found []string
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range entries {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), dir) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}

// containerd is the process of the cluster's own containerd.
func (c *cluster) containerd() int {
	c.t.Helper()
	return c.process("containerd", func(args []string) bool { return filepath.Base(args[0]) == "containerd" })
}

// agent is the process of a lab node's agent.
func (c *cluster) agent(node string) int {
	c.t.Helper()
	return c.process("agent of "+node, func(args []string) bool {
		i := slices.Index(args, "--node-name")
		return len(args) > 1 && args[1] == "agent" && i > 0 && i+1 < len(args) && args[i+1] == node
	})
}

// process finds one of the cluster's own by its command line.
func (c *cluster) process(what string, is func(args []string) bool) int {
	c.t.Helper()
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range entries {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), c.dir) && is(strings.Split(string(text), "\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	c.t.Fatalf("the cluster's %s does not run", what)
	return 0
}

// trace lists the host; changed fails the test with what is not as before.
func trace(t *testing.T) []string {
	t.Helper()
	lines, err := host.Trace(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// unchanged fails the test unless the host comes to be as before. A process of somebody else's may begin or end
// meanwhile: one that ended is none of ours, and one that began is given time to end.
func unchanged(t *testing.T, before []string) {
	t.Helper()
	var diff []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		diff = slices.DeleteFunc(host.Diff(before, trace(t)), func(line string) bool { return strings.HasPrefix(line, "- process ") })
		if len(diff) == 0 {
			return
		}
	}
	t.Errorf("the host is not as before:\n%s", strings.Join(diff, "\n"))
}
