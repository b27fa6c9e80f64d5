package cri

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted cgroup tree: one of the v1 controllers, or the v2 tree.
type hierarchy struct {
	mount string
	v2    bool
}

// hierarchies lists the cgroup trees this process sees, from the text of /proc/self/mountinfo.
func hierarchies(mountinfo string) []hierarchy {
	var out []hierarchy
	lines := bufio.NewScanner(strings.NewReader(mountinfo))
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		if !ok {
			continue
		}
		fields, kind := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(kind) == 0 || (kind[0] != "cgroup" && kind[0] != "cgroup2") {
			continue
		}
		h := hierarchy{mount: fields[4], v2: kind[0] == "cgroup2"}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

func mountedHierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	found := hierarchies(string(text))
	if len(found) == 0 {
		return nil, errors.New("cgroups: no cgroup filesystem is mounted: mount cgroup2 on /sys/fs/cgroup")
	}
	return found, nil
}

// homeHierarchy picks the one tree in which containerd and its shims are gathered: v2 where it is the only one, else a v1 tree
// whose groups accept processes without further set-up.
func homeHierarchy(all []hierarchy) hierarchy {
	for _, name := range []string{"pids", "freezer", "memory", "systemd"} {
		for _, h := range all {
			if !h.v2 && filepath.Base(h.mount) == name {
				return h
			}
		}
	}
	return all[0]
}

// cgroupPIDs are the processes in a group and every group below it, over all trees.
func cgroupPIDs(all []hierarchy, group string) []int {
	seen := map[int]bool{}
	for _, h := range all {
		_ = filepath.WalkDir(filepath.Join(h.mount, group), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
				return nil // a group that vanishes under the walk has no processes
			}
			text, _ := os.ReadFile(path)
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
			return nil
		})
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// Strangers are the configuration files, outside of dir, of the containerds that run in a cgroup or below it: somebody else uses
// the group, and everything in it ends when one of the two is stopped.
func Strangers(group, dir string) ([]string, error) {
	trees, err := mountedHierarchies()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, pid := range cgroupPIDs(trees, group) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(text), "\x00")
		at := slices.Index(args, configFlag)
		if at < 0 || at+1 >= len(args) || !strings.HasSuffix(args[0], "containerd") {
			continue
		}
		if !strings.HasPrefix(args[at+1], filepath.Clean(dir)+"/") {
			files = append(files, args[at+1])
		}
	}
	return files, nil
}

// inGroup tells whether a process is (still) in a group or below it, so that a reused process id is never signalled.
func inGroup(pid int, group string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (parts[2] == group || strings.HasPrefix(parts[2], group+"/")) {
			return true
		}
	}
	return false
}

// killGroup sends SIGKILL to every process of the group until none is left or the context ends.
func killGroup(ctx context.Context, all []hierarchy, group string) error {
	for {
		pids := cgroupPIDs(all, group)
		if len(pids) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cgroup %s: processes %v survive SIGKILL: %w", group, pids, err)
		}
		signalAndWait(pids, group, unix.SIGKILL, 200*time.Millisecond)
	}
}

// signalAndWait signals through process file descriptors, which cannot hit a stranger, and waits up to the limit until the
// processes have ended.
func signalAndWait(pids []int, group string, signal unix.Signal, limit time.Duration) {
	var polls []unix.PollFd
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		defer unix.Close(fd)
		if inGroup(pid, group) && unix.PidfdSendSignal(fd, signal, nil, 0) == nil {
			polls = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	if len(polls) == 0 {
		time.Sleep(time.Millisecond) // zombies that their parent has yet to reap
		return
	}
	waitExit(polls, limit)
}

// waitExit waits until every descriptor has reported the end of its process, or the limit passes.
func waitExit(polls []unix.PollFd, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for len(polls) > 0 {
		left := time.Until(deadline)
		if left <= 0 {
			return
		}
		if _, err := unix.Poll(polls, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		polls = slices.DeleteFunc(polls, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
}

// RemovePodGroup removes the cgroup of a pod that has no processes any more; group is a name below CgroupRoot.
func (r *Runtime) RemovePodGroup(ctx context.Context, group string) error {
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range trees {
		failed = append(failed, removeTree(ctx, filepath.Join(h.mount, r.CgroupRoot, group)))
	}
	return errors.Join(failed...)
}

// removeGroup removes the group, everything below it and, when they are empty, the groups above it, in every tree.
func removeGroup(ctx context.Context, all []hierarchy, group string) error {
	var failed []error
	for _, h := range all {
		if err := removeTree(ctx, filepath.Join(h.mount, group)); err != nil {
			failed = append(failed, err)
			continue
		}
		for up := filepath.Dir(group); up != "/" && up != "."; up = filepath.Dir(up) {
			if unix.Rmdir(filepath.Join(h.mount, up)) != nil {
				break // still used by another node, or never made
			}
		}
	}
	return errors.Join(failed...)
}

// removeTree removes a cgroup directory bottom-up. A group whose last process has just ended can be busy for a moment.
func removeTree(ctx context.Context, dir string) error {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	for _, d := range dirs {
		for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
			err := unix.Rmdir(d)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if ctx.Err() != nil || !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("cgroup %s: remove: %w", d, err)
			}
			time.Sleep(wait)
		}
	}
	return nil
}
