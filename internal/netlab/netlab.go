// Package netlab makes network namespaces for tests: nodes, pods and outside
// hosts that exchange real packets inside the test process.
//
// A namespace lives as long as something refers to it, so a test that is killed
// leaves nothing behind.
package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netns is a network namespace of a test.
type Netns struct {
	t    testing.TB
	name string
	file *os.File
	made int // links made in it, for their names

	ports atomic.Uint32 // of datagrams sent by volleys
}

// New returns an empty network namespace with its loopback up and forwarding
// on for both families, closed at the end of the test. It needs root.
func New(t testing.TB, name string) *Netns {
	t.Helper()
	n := &Netns{t: t, name: name}
	onThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("new network namespace (this test needs root): %v", err)
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Errorf("new network namespace: %v", err)
			return
		}
		n.file = file
	})
	if n.file == nil {
		t.FailNow()
	}
	t.Cleanup(func() { _ = n.file.Close() })
	n.Do(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		n.check("loopback", err)
	})
	for path, value := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
		"net/ipv6/conf/default/accept_dad": "0", // no second of silence on a new link
		// Every refusal is told, not six and then one a second.
		"net/ipv4/icmp_ratemask": "0", "net/ipv6/icmp/ratemask": "0",
	} {
		n.Sysctl(path, value)
	}
	return n
}

// onThread runs f on a thread of its own, which ends with it: a thread that
// changed its namespace must not run other goroutines.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// Do runs f inside the namespace: sockets that f opens belong to it, also after
// f has returned. Goroutines that f starts run elsewhere.
func (n *Netns) Do(f func()) {
	n.t.Helper()
	onThread(func() {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			n.t.Errorf("%s: setns: %v", n.name, err)
			return
		}
		f()
	})
}

func (n *Netns) check(what string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Errorf("%s: %s: %v", n.name, what, err)
	}
}

// Sysctl sets a kernel parameter, named by its path under /proc/sys.
func (n *Netns) Sysctl(path, value string) {
	n.t.Helper()
	n.Do(func() { n.check("sysctl "+path, os.WriteFile("/proc/sys/"+path, []byte(value), 0o644)) })
}

// Command runs a program inside the namespace and returns its output.
func (n *Netns) Command(name string, args ...string) (string, error) {
	n.t.Helper()
	var out []byte
	var err error
	n.Do(func() { out, err = exec.Command(name, args...).CombinedOutput() })
	if err != nil {
		return string(out), fmt.Errorf("%s %v in %s: %w", name, args, n.name, err)
	}
	return string(out), nil
}
