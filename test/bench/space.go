package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// insideArg is the program's name when it runs in the namespace.
	insideArg = "bench (isolated)"
	// nodeAddr is the address of the measured node.
	nodeAddr = "10.77.0.1"
)

// isolated reports whether this process has a network namespace of its own.
func isolated() bool { return os.Args[0] == insideArg }

// isolate runs this program again in a network namespace of its own, and returns its exit code. What the host's network
// has (rules, other clusters, a firewall) then neither disturbs the figures nor is touched, and the namespace ends with
// its last process.
func isolate() int {
	runtime.LockOSThread() // the child is told when this thread ends
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = insideArg
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: start in a network namespace of its own, as root:", err)
		return 1
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 0 {
			return exit.ExitCode()
		}
		return 1
	}
	return 0
}

// exclude keeps other benches from this host until release is called. Their clusters would have the same name, and when
// one ends it ends the processes in the control groups of that name.
func exclude() (release func(), err error) {
	lock, err := os.OpenFile("/run/fairlead-bench.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another bench runs on this host, wait for its end: %w", err)
	}
	return func() { lock.Close() }, nil
}

// connectSpace gives the namespace what a host has: a loopback, an address, and a default route, which leads nowhere.
func connectSpace() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bench0"}}
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge)); err != nil {
		return fmt.Errorf("network of the bench: %w", err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(nodeAddr), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(bridge, address); err != nil {
		return fmt.Errorf("network of the bench: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Attrs().Index, Gw: net.IPv4(10, 77, 0, 2)}); err != nil {
		return fmt.Errorf("network of the bench: %w", err)
	}
	return nil
}

// linkTo joins the namespace bound to path to the bench's own by a link with an address at each end, and leads everything
// in it there.
func linkTo(path, name string, here, there netip.Prefix) error {
	target, err := vnetns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer target.Close()
	inside, err := netlink.NewHandleAt(target)
	if err != nil {
		return err
	}
	defer inside.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(target)}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	address := func(p netip.Prefix) *netlink.Addr {
		return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	}
	return errors.Join(netlink.AddrAdd(veth, address(here)), netlink.LinkSetUp(veth), inside.AddrAdd(eth0, address(there)), inside.LinkSetUp(eth0),
		inside.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: here.Addr().AsSlice()}))
}
