package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long Stop gives programs in containers that handle SIGTERM to end by themselves. It bounds what `down` takes;
// what a pod asks for in terminationGracePeriodSeconds holds when the pod is deleted.
const grace = 3 * time.Second

// Stop ends every process of this node: first the pods', so that their shims can reap them, then containerd and the shims. It
// works the same whether containerd answers, hangs or is dead. With the processes go their mount namespace, the pods' network
// namespaces and the links in them. What is on disk stays; a later Start takes it up again, with all pods stopped.
func (r *Runtime) Stop(ctx context.Context) error {
	r.mu.Lock()
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
	r.mu.Unlock()
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	daemons := cgroupPIDs(trees, r.daemonGroup())
	pods := slices.DeleteFunc(cgroupPIDs(trees, r.CgroupRoot), func(pid int) bool { return slices.Contains(daemons, pid) })
	signalAndWait(askable(pods, daemons), r.CgroupRoot, unix.SIGTERM, grace)
	signalAndWait(pods, r.CgroupRoot, unix.SIGKILL, time.Second)
	if pid := r.daemon(trees); pid != 0 {
		terminate(pid, r.CgroupRoot, time.Second)
	}
	if err := killGroup(ctx, trees, r.CgroupRoot); err != nil {
		return fmt.Errorf("containerd: stop: %w", err)
	}
	return nil
}

// askable are the first programs of containers, the children of shims, that have a handler for SIGTERM. The others would
// ignore it, as the first process of a process namespace does, and be waited for in vain. The sandbox's own program is not
// asked: while it runs, its pod has a network.
func askable(pods, shims []int) []int {
	return slices.DeleteFunc(slices.Clone(pods), func(pid int) bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return true
		}
		s := parseStatus(string(text))
		return s.name == pauseName || !slices.Contains(shims, s.parent) || s.caught&(1<<(unix.SIGTERM-1)) == 0
	})
}

// pauseName is the command name of the sandbox's program.
const pauseName = "pause"

// processStatus is what Stop has to know of a process: its command's name, its parent and the signals it handles.
type processStatus struct {
	name   string
	parent int
	caught uint64
}

// parseStatus reads /proc/PID/status.
func parseStatus(text string) processStatus {
	var s processStatus
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Name":
			s.name = value
		case "PPid":
			s.parent, _ = strconv.Atoi(value) // the kernel writes a number
		case "SigCgt":
			s.caught, _ = strconv.ParseUint(value, 16, 64)
		}
	}
	return s
}

// terminate asks a process to end and waits for it up to the limit.
func terminate(pid int, group string, limit time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if inGroup(pid, group) && unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0) == nil {
		waitExit([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, limit)
	}
}

// cleanTimeout is how long Clean waits for cgroups to become empty.
const cleanTimeout = 5 * time.Second

// Clean removes, after Stop, the cgroups and the mount points this node's containerd needed on the host, and its directory; with
// keepData the images and the records of pods stay. A mount point that the containerd of another node still uses is left to
// that node's Clean.
func (r *Runtime) Clean(keepData bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	if pids := cgroupPIDs(trees, r.CgroupRoot); len(pids) > 0 {
		return fmt.Errorf("containerd: clean: processes %v still run in cgroup %s: stop first", pids, r.CgroupRoot)
	}
	p := r.paths()
	failed := []error{removeGroup(ctx, trees, r.CgroupRoot)}
	for target := range p.overHost() {
		failed = append(failed, removeMountPoint(target))
	}
	if keepData {
		failed = append(failed, os.RemoveAll(p.state), os.RemoveAll(p.shims), os.RemoveAll(p.socket), os.RemoveAll(p.socket+".ttrpc"))
	} else {
		failed = append(failed, os.RemoveAll(r.Dir))
	}
	return errors.Join(failed...)
}

// Wait blocks until the running containerd of this node has ended, or the context is done. Without one it returns at once.
func (r *Runtime) Wait(ctx context.Context) error {
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	pid := r.daemon(trees)
	if pid == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("containerd: watch process %d: %w", pid, err)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	stop := context.AfterFunc(ctx, func() { process.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := process.SyscallConn()
	if err != nil {
		return fmt.Errorf("containerd: watch process %d: %w", pid, err)
	}
	err = raw.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
