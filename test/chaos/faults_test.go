package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/host/netns"
)

// fault is one thing that can go wrong. It returns when it has happened and is over.
type fault struct {
	name string
	do   func(c *cluster) error
}

// hold is how long a fault lasts that has a duration.
const hold = 2 * time.Second

var faults = []fault{
	{"main process killed", func(c *cluster) error {
		pid, err := c.main()
		if err != nil {
			return err
		}
		return kill(pid)
	}},
	{"main process and its keeper killed, then up", func(c *cluster) error {
		for _, pid := range slices.Concat(c.processes(`fairlead keep `), c.processes(`fairlead run `)) {
			if err := kill(pid); err != nil {
				return err
			}
		}
		out, err := c.up()
		if err != nil {
			return fmt.Errorf("up: %w\n%s", err, out)
		}
		return nil
	}},
	{"agent killed", func(c *cluster) error { return killOne(c, `fairlead agent `) }},
	{"containerd killed", func(c *cluster) error { return killOne(c, `containerd (-c|--config) `) }},
	{"container's shim killed", func(c *cluster) error { return killOne(c, `containerd-shim-runc-v2 `) }},
	{"main process stopped for a while", func(c *cluster) error {
		pid, err := c.main()
		if err != nil {
			return err
		}
		return stopped(pid)
	}},
	{"agent stopped for a while", func(c *cluster) error {
		pids := c.processes(`fairlead agent `)
		if len(pids) == 0 {
			return errors.New("no agent runs")
		}
		return stopped(pids[0])
	}},
	{"node cut off", func(c *cluster) error {
		return errors.Join(link(c, "down"), pause(), link(c, "up"))
	}},
	{"disk full", fill},
	{"memory short", starve},
}

func pause() error { time.Sleep(hold); return nil }

// kill ends a process at once and waits until it is gone.
func kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %d: %w", pid, err)
	}
	return eventually(hold, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
			return fmt.Errorf("process %d lives after it was killed", pid)
		}
		return nil
	})
}

// killOne kills one of the cluster's processes, another each time as their numbers change.
func killOne(c *cluster, form string) error {
	pids := c.processes(form)
	if len(pids) == 0 {
		return fmt.Errorf("no process of the cluster matches %q", form)
	}
	return kill(pids[int(time.Now().UnixNano())%len(pids)])
}

func stopped(pid int) error {
	return errors.Join(syscall.Kill(pid, syscall.SIGSTOP), pause(), syscall.Kill(pid, syscall.SIGCONT))
}

// link sets the fabric's end of node2's link.
func link(c *cluster, to string) error {
	cmd := exec.Command("ip", "link", "set", "node2", to)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := netns.Start(c.path("netns", "fabric"), cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip link set node2 %s: %w: %s", to, err, out.Bytes())
	}
	return nil
}

// starve leaves the main process next to no memory for a while: what it needs beyond that, it does not get.
func starve(c *cluster) error {
	pid, err := c.main()
	if err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return err
	}
	pages, err := strconv.ParseUint(strings.Fields(string(status))[0], 10, 64)
	if err != nil {
		return err
	}
	var was unix.Rlimit
	now := unix.Rlimit{Cur: pages*uint64(os.Getpagesize()) + 1<<20, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, &now, &was); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	time.Sleep(hold)
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, &was, nil); err != nil && !errors.Is(err, syscall.ESRCH) { // it may have died of it
		return fmt.Errorf("lift the limit on memory: %w", err)
	}
	return nil
}

// fill takes all the room on the cluster's disk for a while.
func fill(c *cluster) error {
	ballast, err := os.Create(c.path("ballast"))
	if err != nil {
		return err
	}
	defer os.Remove(ballast.Name())
	_, err = io.Copy(ballast, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("the disk should be full: %v", err), ballast.Close())
	}
	return errors.Join(pause(), ballast.Close())
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
