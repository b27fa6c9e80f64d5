package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restart kills the program as nothing else would and starts it again, while connections to a Service go on.
func (w *crowd) restart(ctx context.Context, _ int) ([]row, error) {
	s, err := w.server(ctx)
	if err != nil {
		return nil, err
	}
	keeper, err := w.process("keep")
	if err != nil {
		return nil, err
	}
	pid, err := w.process("run")
	if err != nil {
		return nil, err
	}
	stop, traffic := make(chan struct{}), make(chan gaps, 1)
	go func() { traffic <- knock(stop, func() error { return connected(s.service) }) }()
	time.Sleep(time.Second)
	for _, p := range []int{keeper, pid} { // or it would be started again before anybody could measure how
		if err := syscall.Kill(p, syscall.SIGKILL); err != nil {
			return nil, err
		}
	}
	if err := waitGone(ctx, pid); err != nil {
		return nil, err
	}
	start := time.Now()
	err = w.up(ctx)
	took := time.Since(start)
	cpu := w.cpu()
	var follow time.Duration
	if err == nil {
		follow, err = w.firstFlip(ctx, start)
	}
	time.Sleep(time.Second)
	close(stop)
	seen := <-traffic
	if err != nil {
		return nil, err
	}
	size := thousands(w.services) + " Services"
	return []row{
		{"kill -9, then `up` until API, node, rules and DNS answer, " + size, show(took), fmt.Sprintf("processor time of the program: %s", show(cpu)), budget{}},
		{"the same until a pod's status change has reached the kernel, " + size, show(follow), "-", budget{}},
		{"connections to a Service from kill to a second after `up`, " + size,
			fmt.Sprintf("%d of %d failed, longest time between two that succeeded %s", seen.failed, seen.tried, show(seen.longest)), "one try every ms", held("none failed", seen.failed == 0)},
	}, nil
}

// connected tries once.
func connected(to netip.AddrPort) error {
	for {
		if _, _, err := connect(to); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// firstFlip is the time since start when the first change after a restart is in the kernel.
func (w *crowd) firstFlip(ctx context.Context, start time.Time) (time.Duration, error) {
	o, err := w.observe(ctx)
	if err != nil {
		return 0, err
	}
	defer o.end()
	t := &w.measured[0]
	first, err := w.flip(ctx, o, t, t.pods[0], false)
	if err != nil {
		return 0, err
	}
	_, err = w.flip(ctx, o, t, t.pods[0], true)
	return first.at[kernel].Sub(start), err
}

// process is the one of the cluster's own that runs a command.
func (w *crowd) process(command string) (int, error) {
	for pid := range w.processes() {
		cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if args := strings.Split(string(cmdline), "\x00"); err == nil && len(args) > 1 && args[1] == command {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process %q of the cluster in %s is found", command, w.dir)
}

// waitGone waits until the kernel has taken a killed process apart, so that its files are closed: its threads are gone, and
// what remains is for its parent to ask how it died.
func waitGone(ctx context.Context, pid int) error {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	for ctx.Err() == nil {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		threads, _ := filepath.Glob(filepath.Join(dir, "task", "*"))
		if err != nil || strings.Contains(string(stat), ") Z ") && len(threads) <= 1 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// gaps is what someone saw who knocked at a door again and again.
type gaps struct {
	tried, failed int
	longest       time.Duration // between two answers
}

// knock calls try every millisecond until stop is closed.
func knock(stop <-chan struct{}, try func() error) gaps {
	var g gaps
	last := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return g
		case <-tick.C:
		}
		g.tried++
		if err := try(); err != nil {
			g.failed++
			continue
		}
		now := time.Now()
		g.longest = max(g.longest, now.Sub(last))
		last = now
	}
}
