package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/lab"
	"fairlead.dev/fairlead/host/netns"
)

// roll is how far the agents of a lab have come with their start.
type roll struct {
	mu    sync.Mutex
	last  map[string]string // by node: the stage that was reached; a node that is ready is not there
	ready chan struct{}     // closed when all are
}

func newRoll(nodes []lab.Node) *roll {
	r := &roll{last: map[string]string{}, ready: make(chan struct{})}
	for _, n := range nodes {
		r.last[n.Name] = "has not begun"
	}
	return r
}

// did notes what a node's agent reports.
func (r *roll) did(node string, what report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waited := r.last[node]; !waited {
		return
	}
	if !what.Ready {
		r.last[node] = "last reached: " + what.Stage
	} else if delete(r.last, node); len(r.last) == 0 {
		close(r.ready)
	}
}

// missing tells which nodes are not ready.
func (r *roll) missing() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for node, stage := range r.last {
		all = append(all, node+" "+stage)
	}
	return strings.Join(all, "; ")
}

// startAgents runs one agent for each node and returns when every one has told that its node is ready. What the API server
// remembers of an earlier run says nothing about that.
func startAgents(ctx context.Context, g *errgroup.Group, nodes []lab.Node, log *slog.Logger, run func(context.Context, lab.Node, func(report)) error) error {
	r := newRoll(nodes)
	for _, n := range nodes {
		agent := func(ctx context.Context) error { return run(ctx, n, func(what report) { r.did(n.Name, what) }) }
		g.Go(named(n.Name, ctx, func(ctx context.Context) error {
			return keepLabAgent(ctx, r.ready, log.With("part", "lab", "node", n.Name), agent)
		}))
	}
	// Each tells by itself what it waits for, and sooner.
	return await(ctx, "nodes", r.ready, 4*nodeBound, r.missing)
}

// agentPause is how long a lab's agent that has ended stays down.
const agentPause = time.Second

// keepLabAgent runs the agent of one lab node until ctx ends. One that ends by itself is started again, as the service
// manager of a machine does; before the lab was complete it is an error.
func keepLabAgent(ctx context.Context, complete <-chan struct{}, log *slog.Logger, run func(context.Context) error) error {
	for {
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-complete:
		default:
			return err
		}
		log.Warn("the agent has ended and is started again", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(agentPause):
		}
	}
}

// runLabAgent runs the agent of one lab node in a process inside its namespace. It ends when ctx does.
func runLabAgent(ctx context.Context, p Process, inst instance.Instance, s config.Settings, cp *controlPlane, host []netip.Addr, n lab.Node, did func(report)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	reports, childEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	cmd := exec.Command(self, "agent", "--server", cp.server, "--token-file", inst.Path(joinToken), "--name", s.Name,
		"--node-name", n.Name, "--node-ip", joinAddrs(n.Addrs), "--agent-port", fmt.Sprint(s.AgentPort), "--log-level", s.LogLevel,
		"--data-dir", inst.Dir, "--lab-dir", nodeDir(inst, n.Name), "--lab-host", joinAddrs(host),
		"--upstream-netns", fmt.Sprintf("/proc/%d/ns/net", os.Getpid()), "--report-fd", "3", "--config-file", s.File)
	cmd.Env = append(cmd.Environ(), s.Own.Proxy.Environment(nil)...)
	if p.Pprof != "" {
		cmd.Args = append(cmd.Args, "--pprof", p.Pprof) // of the node's own loopback
	}
	cmd.Stdout, cmd.Stderr = p.Out, p.Err
	cmd.ExtraFiles = []*os.File{childEnd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err == nil {
		err = netns.Start(n.Netns, cmd)
	}
	childEnd.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { input.Close() })
	defer stop()
	told := follow(reports, did)
	if told == nil {
		did(report{Ready: true})
	}
	err = cmd.Wait()
	if told != nil && !errors.Is(told, errEnded) {
		return told
	}
	return err
}

// lockNode marks a lab node's directory as this agent's, after the one of an earlier life has ended: one whose lab was
// killed needs a moment to notice.
func lockNode(ctx context.Context, dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(nodeBound); ; {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if time.Now().After(deadline) {
			lock.Close()
			return nil, fmt.Errorf("the agent of an earlier run still works on %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
