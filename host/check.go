package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
)

// Requirements says what a cluster that is about to start needs of the host,
// beyond what every cluster needs.
type Requirements struct {
	// Dir is where its data will live; it need not exist yet.
	Dir string
	// Ports are those it will listen on, in this network namespace.
	Ports []Port
	// Ranges are the addresses it will use.
	Ranges []Range
	// IPv6 tells whether it will use IPv6 addresses on this host.
	IPv6 bool
	// Proxy tells whether it will translate Services' packets in this network namespace.
	Proxy bool
	// Firewalls are what has to pass the host's firewall.
	Firewalls []Firewall
	// Running is the cluster that runs with this data directory, if one does: what it holds is in nobody's way.
	Running Running
	// OwnLinks are interfaces it makes itself: a route over one is no conflict.
	OwnLinks []string
}

// Running is a cluster that runs.
type Running struct {
	Name string
	PID  int // of its main process; 0: there is none
}

// Port is an address to listen on.
type Port struct {
	Network string         // "tcp" or "udp"
	Addr    netip.AddrPort // the unspecified address stands for every one
	For     string         // what listens, as "API server"
	Flag    string         // the setting that moves it, as "--port"; may be empty
	// Spare tells that a cluster runs without it.
	Spare bool
}

// Range is a range of addresses.
type Range struct {
	Name   string // what the addresses are for, as "pods"
	Prefix netip.Prefix
	Flag   string // the setting that changes it, as "--pod-cidr"
}

// Level says how grave a Finding is.
type Level string

// The levels of findings.
const (
	Pass Level = "pass" // it is as it should be
	Warn Level = "warn" // it runs, but something will not work well
	Fail Level = "fail" // it cannot run
)

// Finding is one thing that Check looked at.
type Finding struct {
	Name    string // what was looked at, as "containerd" or "port 6443/tcp"
	OK      bool   // false when Level is Fail
	Level   Level
	Message string // one sentence: what there is, or what is wrong and what to do
}

func pass(name, format string, args ...any) Finding {
	return Finding{Name: name, OK: true, Level: Pass, Message: fmt.Sprintf(format, args...)}
}

func warn(name, format string, args ...any) Finding {
	return Finding{Name: name, OK: true, Level: Warn, Message: fmt.Sprintf(format, args...)}
}

func fail(name, format string, args ...any) Finding {
	return Finding{Name: name, Level: Fail, Message: fmt.Sprintf(format, args...)}
}

// Check looks whether this host can run a cluster. What it tries, it
// tries in namespaces of its own, two of them linked to the host for that time. The findings come in a fixed
// order, the most basic first. Without root it stops after saying so.
func Check(ctx context.Context, req Requirements) []Finding {
	if os.Geteuid() != 0 {
		return []Finding{fail("root", "this is user %d: run it as root, with sudo", os.Geteuid())}
	}
	checks := []func(context.Context, Requirements) []Finding{
		checkPrivileges, checkKernel, checkProbes, checkCgroups, checkTools, checkPlugins, checkIPv6,
		checkPorts, checkRanges, checkRivals, checkDisk, checkInotify,
	}
	found := make([][]Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check(ctx, req) })
	}
	wg.Wait()
	var all []Finding
	for _, f := range append(found, checkFirewall(ctx, req)) { // by itself: its routes are no conflict
		all = append(all, f...)
	}
	return all
}

// Failed returns the findings that keep the cluster from running.
func Failed(findings []Finding) []Finding {
	var out []Finding
	for _, f := range findings {
		if !f.OK {
			out = append(out, f)
		}
	}
	return out
}
