package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/vishvananda/netlink"

	"fairlead.dev/fairlead/node/image"
)

// start gives a test its own containerd, removed at the end.
func start(t *testing.T) (context.Context, *Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{Dir: filepath.Join(dir, "c"), CgroupRoot: fmt.Sprintf("/fairlead-test-%d/%s", os.Getpid(), filepath.Base(dir))}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := r.Clean(false); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	begin := time.Now()
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("containerd answers after %v", time.Since(begin))
	return ctx, r
}

// sandbox runs a pod sandbox and returns its id.
func sandbox(ctx context.Context, t *testing.T, r *Runtime, name string) string {
	t.Helper()
	pause, err := image.Pause()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ensure(ctx, pause); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteCNI([]netip.Prefix{netip.MustParsePrefix("10.99.7.0/24"), netip.MustParsePrefix("fd00:99:7::/64")}, 0); err != nil {
		t.Fatal(err)
	}
	client := runtimes(t, r)
	until(t, "the network is ready", func() bool {
		s, err := client.Status(ctx, &runtimeapi.StatusRequest{})
		if err != nil {
			return false
		}
		for _, c := range s.Status.Conditions {
			if c.Type == runtimeapi.NetworkReady {
				return c.Status
			}
		}
		return false
	})
	begin := time.Now()
	run, err := client.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Uid: name, Namespace: "default"},
		Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: r.CgroupRoot + "/pod" + name},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("sandbox runs after %v", time.Since(begin))
	return run.PodSandboxId
}

func runtimes(t *testing.T, r *Runtime) runtimeapi.RuntimeServiceClient {
	t.Helper()
	conn, err := r.Conn()
	if err != nil {
		t.Fatal(err)
	}
	return runtimeapi.NewRuntimeServiceClient(conn)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func state(ctx context.Context, t *testing.T, r *Runtime, id string) runtimeapi.PodSandboxState {
	t.Helper()
	s, err := runtimes(t, r).PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		t.Fatal(err)
	}
	return s.Status.State
}

func TestAdoptAfterContainerdIsKilled(t *testing.T) {
	ctx, r := start(t)
	id := sandbox(ctx, t, r, "survivor")
	trees, err := mountedHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	first := r.daemon(trees)
	if first == 0 {
		t.Fatal("the running containerd is not found")
	}
	if err := (&Runtime{Dir: r.Dir, CgroupRoot: r.CgroupRoot}).Start(ctx); err != nil {
		t.Fatal(err)
	}
	if now := r.daemon(trees); now != first {
		t.Fatalf("a running containerd was not adopted: %d became %d", first, now)
	}

	ended := make(chan error, 1)
	go func() { ended <- r.Wait(ctx) }()
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("wait: %v", err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := state(ctx, t, r, id); got != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("the sandbox did not survive its containerd: %v", got)
	}
	// Its network namespace must still be reachable from the new containerd, else its removal leaks an address.
	client := runtimes(t, r)
	if _, err := client.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Fatal(err)
	}
	if left := addresses(t, r); len(left) != 0 {
		t.Errorf("addresses are still taken: %v", left)
	}
}

// addresses lists the leases of host-local.
func addresses(t *testing.T, r *Runtime) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.paths().cniData, "*", "[0-9]*.*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Two directories never share a cgroup: who begins can see that another was first.
func TestStrangers(t *testing.T) {
	_, r := start(t)
	group := filepath.Dir(r.CgroupRoot)
	own, err := Strangers(group, r.Dir)
	if err != nil || len(own) != 0 {
		t.Errorf("to its own directory strange are %q, %v", own, err)
	}
	others, err := Strangers(group, r.Dir+"2")
	if err != nil || len(others) != 1 || others[0] != r.paths().config {
		t.Errorf("to another directory strange are %q, %v", others, err)
	}
}

// A pod has an address of each family, and both are usable when its sandbox runs.
func TestBothFamilies(t *testing.T) {
	ctx, r := start(t)
	s, err := runtimes(t, r).PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox(ctx, t, r, "dual")})
	if err != nil {
		t.Fatal(err)
	}
	n := s.Status.Network
	if len(n.AdditionalIps) != 1 || !strings.HasPrefix(n.Ip, "10.99.7.") || !strings.HasPrefix(n.AdditionalIps[0].Ip, "fd00:99:7::") {
		t.Fatalf("addresses: %v", n)
	}
	for _, ip := range []string{n.Ip, n.AdditionalIps[0].Ip} {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip, "1"), 5*time.Second)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, unix.ECONNREFUSED) { // the pod itself says that nothing listens there
			t.Errorf("%s: %v, want a refusal by the pod", ip, err)
		}
	}
}

func TestExits(t *testing.T) {
	ctx, r := start(t)
	name := "ends"
	id := sandbox(ctx, t, r, name)
	seen := make(chan string, 10)
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.Exits(listening, func(id string) { seen <- id })
	trees, err := mountedHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	// The subscription has no acknowledgement, so the end of a second sandbox may be needed to see one.
	until(t, "an exit is reported", func() bool {
		for _, pid := range cgroupPIDs(trees, r.CgroupRoot+"/pod"+name) {
			unix.Kill(pid, unix.SIGKILL)
		}
		select {
		case got := <-seen:
			if got != id {
				t.Fatalf("%s ended, want %s", got, id)
			}
			return true
		case <-time.After(200 * time.Millisecond):
			name += "-again"
			id = sandbox(ctx, t, r, name)
			return false
		}
	})
	until(t, "the CRI service sees it too", func() bool { return state(ctx, t, r, id) == runtimeapi.PodSandboxState_SANDBOX_NOTREADY })
}

func TestNothingRemains(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, before := os.Stat(hostShims)
	ctx, r := start(t)
	sandbox(ctx, t, r, "one")
	sandbox(ctx, t, r, "two")
	if now, _ := os.ReadFile("/proc/self/mountinfo"); string(now) != string(mounts) {
		t.Errorf("the host's mounts changed:\n%s", now)
	}
	if links := veths(t); links != 2 {
		t.Errorf("%d veths for two pods", links)
	}
	begin := time.Now()
	if err := r.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %v", time.Since(begin))
	if err := r.Clean(false); err != nil {
		t.Fatal(err)
	}
	trees, err := mountedHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, tree := range trees {
		if _, err := os.Stat(filepath.Join(tree.mount, filepath.Dir(r.CgroupRoot))); !os.IsNotExist(err) {
			t.Errorf("cgroup remains in %s: %v", tree.mount, err)
		}
	}
	if _, err := os.Stat(r.Dir); !os.IsNotExist(err) {
		t.Errorf("%s remains", r.Dir)
	}
	if _, after := os.Stat(hostShims); os.IsNotExist(before) && !os.IsNotExist(after) {
		t.Errorf("%s remains", hostShims)
	}
	until(t, "the pods' links are gone", func() bool { return veths(t) == 0 })
	if now, _ := os.ReadFile("/proc/self/mountinfo"); string(now) != string(mounts) {
		t.Errorf("the host's mounts changed:\n%s", now)
	}
}

func veths(t *testing.T) int {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "veth") {
			n++
		}
	}
	return n
}

func TestStartAfterEverythingDied(t *testing.T) {
	ctx, r := start(t)
	id := sandbox(ctx, t, r, "lost")
	if err := r.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := state(ctx, t, r, id); got != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("state %v, want NOTREADY", got)
	}
	if _, err := runtimes(t, r).RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Fatal(err)
	}
	if left := addresses(t, r); len(left) != 0 {
		t.Errorf("addresses are still taken: %v", left)
	}
}
