// Package trial gives tests a containerd of their own: in its own mount and
// network namespace, with its own root, state and socket, so that neither the
// host nor another containerd sees any of it.
package trial

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Containerd is one private containerd; it ends with its test.
type Containerd struct {
	dir string
	pid int
}

// config is the daemon's: no CRI, no plugin that needs more than the kernel.
const config = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = %[3]q
`

// Start runs a containerd until the end of the test. It needs root and the
// programs containerd, ctr and runc, and fails the test without them.
func Start(t *testing.T) *Containerd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a private containerd needs root: run the tests as root")
	}
	c := &Containerd{dir: t.TempDir()}
	conf := filepath.Join(c.dir, "config.toml")
	data := fmt.Sprintf(config, filepath.Join(c.dir, "root"), filepath.Join(c.dir, "state"), c.socket())
	if err := os.WriteFile(conf, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	// /run is a tmpfs of its own: the shims put their sockets under /run/containerd.
	cmd := exec.Command("sh", "-c", "mount -t tmpfs tmpfs /run && ip link set lo up && exec containerd --config "+conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Setpgid: true}
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start containerd: %v", err)
	}
	c.pid = cmd.Process.Pid
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop containerd: %v", err)
		}
		_ = cmd.Wait() // its exit code after SIGTERM says nothing
		_ = log.Close()
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("containerd's log:\n%s", data)
		}
	})
	c.Eventually(t, "containerd answers", func() error { _, err := c.ctr("version"); return err })
	return c
}

func (c *Containerd) socket() string { return filepath.Join(c.dir, "sock") }

// Eventually waits up to 20 seconds for try to return nil.
func (c *Containerd) Eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Exec runs a command inside the network and mount namespaces of the
// containerd and its --net-host containers and returns what it printed.
func (c *Containerd) Exec(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pid := strconv.Itoa(c.pid)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", pid, "-n", "-m", "--"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

func (c *Containerd) ctr(args ...string) (string, error) {
	return c.Exec(append([]string{"ctr", "-a", c.socket(), "-n", "k8s.io"}, args...)...)
}

// Import loads an image archive and returns the references it then holds.
func (c *Containerd) Import(t *testing.T, archive string) []string {
	t.Helper()
	if _, err := c.ctr("images", "import", archive); err != nil {
		t.Fatal(err)
	}
	out, err := c.ctr("images", "ls", "-q")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)
}

// Run starts a container of ref on the namespace's own network, detached, and
// returns the pid of its main process; it is removed when the test ends.
func (c *Containerd) Run(t *testing.T, ref, name string, flags ...string) int {
	t.Helper()
	cgroup := fmt.Sprintf("/flt-trial-%d-%s", c.pid, name)
	args := append([]string{"run", "-d", "--net-host", "--cgroup", cgroup}, flags...)
	if _, err := c.ctr(append(args, ref, name)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.ctr("task", "rm", "-f", name); err != nil && !strings.Contains(err.Error(), "not found") {
			t.Error(err)
		}
		if _, err := c.ctr("container", "rm", name); err != nil {
			t.Error(err)
		}
	})
	out, err := c.ctr("task", "ls")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			if pid, err := strconv.Atoi(f[1]); err == nil {
				return pid
			}
		}
	}
	t.Fatalf("container %s has no task:\n%s", name, out)
	return 0
}

// In runs a command inside the container name and returns what it printed.
func (c *Containerd) In(name string, args ...string) (string, error) {
	id := fmt.Sprintf("x%d", time.Now().UnixNano())
	return c.ctr(append([]string{"task", "exec", "--exec-id", id, name}, args...)...)
}

// Stop sends SIGTERM to the container and waits for its exit code.
func (c *Containerd) Stop(t *testing.T, name string) string {
	t.Helper()
	if _, err := c.ctr("task", "kill", "-s", "SIGTERM", name); err != nil {
		t.Fatal(err)
	}
	c.Eventually(t, name+" stops", func() error {
		out, err := c.ctr("task", "ls")
		if err == nil && strings.Contains(out, "RUNNING") {
			err = fmt.Errorf("still there: %s", out)
		}
		return err
	})
	out, err := c.ctr("task", "rm", name)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}
