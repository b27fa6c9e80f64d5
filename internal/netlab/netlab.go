// Package netlab makes network namespaces for tests: nodes, pods and outside
// hosts that exchange real packets inside the test process.
//
// A namespace lives as long as something refers to it, so a test that is killed
// leaves nothing behind.
package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netns is a network namespace of a test.
type Netns struct {
	t    testing.TB
	name string
	file *os.File
	made int // links made in it, for their names
}

// New returns an empty network namespace with its loopback up and forwarding
// on, closed at the end of the test. It needs root.
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
	n.Sysctl("net/ipv4/ip_forward", "1")
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

// Connect joins two namespaces by a pair of veths that carry the addresses
// given, and returns the names of the links in a and in b.
func Connect(a *Netns, inA netip.Prefix, b *Netns, inB netip.Prefix) (linkA, linkB string) {
	a.t.Helper()
	linkA, linkB = fmt.Sprintf("eth%d", a.made), fmt.Sprintf("eth%d", b.made)
	a.made++
	b.made++
	a.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = linkA
		a.check("add veth", netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: linkB, PeerNamespace: netlink.NsFd(b.file.Fd())}))
	})
	a.address(linkA, inA)
	b.address(linkB, inB)
	a.awaitUp(linkA)
	b.awaitUp(linkB)
	return linkA, linkB
}

// awaitUp waits until the kernel has given the link its queue: until then it
// drops what is sent, and the first ARP request would be repeated only after a
// second.
func (n *Netns) awaitUp(link string) {
	n.t.Helper()
	n.Do(func() {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			l, err := netlink.LinkByName(link)
			if err == nil && l.Attrs().OperState == netlink.OperUp {
				return
			}
			if time.Now().After(deadline) {
				n.t.Errorf("%s: link %s does not come up: %v", n.name, link, err)
				return
			}
		}
	})
}

func (n *Netns) address(link string, p netip.Prefix) {
	n.t.Helper()
	n.Do(func() {
		l, err := netlink.LinkByName(link)
		if err != nil {
			n.check("link "+link, err)
			return
		}
		n.check("link up", netlink.LinkSetUp(l))
		addr, err := netlink.ParseAddr(p.String())
		n.check("parse address", err)
		n.check("add address", netlink.AddrAdd(l, addr))
	})
}

// Address adds an address to the namespace's loopback.
func (n *Netns) Address(p netip.Prefix) { n.t.Helper(); n.address("lo", p) }

// Route adds a route; arguments are those of ip route add.
func (n *Netns) Route(args ...string) {
	n.t.Helper()
	out, err := n.Command("ip", append([]string{"route", "add"}, args...)...)
	if err != nil {
		n.t.Errorf("%v: %s", err, out)
	}
}

// Pod returns a namespace connected to a node the way the ptp CNI plugin does
// it: a pair of veths of its own and a host route, no bridge.
func Pod(node *Netns, name string, addr, gateway netip.Addr) *Netns {
	node.t.Helper()
	pod := New(node.t, name)
	inNode, inPod := Connect(node, netip.PrefixFrom(gateway, 32), pod, netip.PrefixFrom(addr, 32))
	node.Route(addr.String()+"/32", "dev", inNode)
	pod.Route(gateway.String(), "dev", inPod)
	pod.Route("default", "via", gateway.String())
	return pod
}
