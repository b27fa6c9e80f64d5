package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process records a process that was just started. Undo ends it: by SIGTERM,
// then by SIGKILL. A process of the same number that started at another time
// is a different one and is left alone.
func (j *Journal) Process(pid int) error {
	return j.Record(string(KindProcess), strconv.Itoa(pid))
}

func pidExists(name string) (bool, error) {
	_, err := os.Stat("/proc/" + name)
	return err == nil, nil
}

// startTime is when the process with this number started, in clock ticks
// since the boot: field 22 of /proc/PID/stat.
func startTime(pid string) (uint64, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(f[22-3], 10, 64)
}

// stat returns the fields of /proc/PID/stat from the third, the state, on.
// The second, the command, may hold spaces and brackets.
func stat(pid string) ([]string, error) {
	if _, err := strconv.ParseUint(pid, 10, 31); err != nil {
		return nil, fmt.Errorf("%q is not a process id", pid)
	}
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(f) < 22 {
		return nil, fmt.Errorf("/proc/%s/stat: only %d fields", pid, len(f))
	}
	return f, nil
}

func undoProcess(ctx context.Context, e entry) (bool, error) {
	pid, err := strconv.Atoi(e.Name)
	if err != nil {
		return false, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, ignore(err, unix.ESRCH)
	}
	defer func() { _ = unix.Close(fd) }()
	// the descriptor holds one process: checked after it was opened, the start time is that process's
	if start, err := startTime(e.Name); err != nil || start != e.Start {
		return false, ignore(err, fs.ErrNotExist)
	}
	if ended(fd) {
		return false, nil // a zombie: its parent has yet to look
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
			return false, ignore(err, unix.ESRCH)
		}
		if await(ctx, func() bool { return ended(fd) }) {
			return true, nil
		}
	}
	return false, errors.New("it does not end, not even by SIGKILL")
}

// ended tells whether the process of a pidfd has ended.
func ended(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1
}

// ignore returns err unless it is one of the harmless ones.
func ignore(err error, harmless ...error) error {
	for _, h := range harmless {
		if errors.Is(err, h) {
			return nil
		}
	}
	return err
}

// hierarchies lists the directories where cgroup trees are mounted, v1 and v2.
func hierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	var roots []string
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) > 4 && len(kind) > 0 && strings.HasPrefix(kind[0], "cgroup") && !slices.Contains(roots, f[4]) {
			roots = append(roots, f[4])
		}
	}
	return roots, nil
}

// groups returns the directories of the group name in every hierarchy that has it.
func groups(name string) ([]string, error) {
	if !strings.HasPrefix(name, "/") || filepath.Clean(name) != name || name == "/" {
		return nil, fmt.Errorf("cgroup %q: give a path such as /fairlead/node1", name)
	}
	roots, err := hierarchies()
	var dirs []string
	for _, r := range roots {
		if _, err := os.Stat(r + name); err == nil {
			dirs = append(dirs, r+name)
		}
	}
	return dirs, err
}

func cgroupExists(name string) (bool, error) {
	dirs, err := groups(name)
	return len(dirs) > 0, err
}

// undoCgroup ends the processes in the group and removes it with the groups below it.
func undoCgroup(ctx context.Context, e entry) (bool, error) {
	dirs, err := groups(e.Name)
	if err != nil || len(dirs) == 0 {
		return false, err
	}
	if !await(ctx, func() bool { return killAll(dirs) == 0 }) {
		return false, errors.New("its processes do not end, not even by SIGKILL")
	}
	for _, dir := range dirs {
		var below []string
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, p)
			}
			return nil // what vanishes meanwhile needs no removal
		})
		for _, p := range slices.Backward(below) {
			var last error
			// a group is busy for a moment after its last process has ended
			if !await(ctx, func() bool { last = ignore(unix.Rmdir(p), unix.ENOENT); return last == nil }) {
				return false, fmt.Errorf("remove %s: %w", p, last)
			}
		}
	}
	return true, nil
}

// killAll sends SIGKILL to every process of the groups and returns how many there were.
func killAll(dirs []string) int {
	n := 0
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return nil
			}
			data, _ := os.ReadFile(p)
			for _, word := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
					n++
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			return nil
		})
	}
	return n
}
