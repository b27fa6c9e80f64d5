package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"fairlead.dev/fairlead/netns"
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
