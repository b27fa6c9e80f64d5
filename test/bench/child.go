package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the program is named when it is started by itself to do one thing, with what that is as JSON for an argument.
const (
	// childArg measures rules: a process and a network namespace for each size, so that what they hold is that size's alone.
	childArg  = "bench (rules)"
	engineArg = "bench (engine)"   // is the L7 engine of a rig
	goArg     = "bench (net/http)" // is a proxy of a rig that the standard library has ready
)

// child reports whether this process is one of those, and runs it then.
func child() bool {
	run := map[string]func(context.Context, []byte) error{childArg: measureSize, engineArg: serveEngine, goArg: serveGo}[os.Args[0]]
	if run == nil {
		return false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, []byte(os.Args[1])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func measureSize(ctx context.Context, text []byte) error {
	var what size
	if err := json.Unmarshal(text, &what); err != nil {
		return err
	}
	m, err := what.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// inChild measures a size in a child process.
func (s size) inChild(ctx context.Context) (m measured, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s Services x %d endpoints, %s: %w", thousands(s.Services), s.Endpoints, s.Kind, err)
		}
	}()
	group, err := newMemoryGroup()
	if err != nil {
		return m, err
	}
	defer group.remove()
	s.Group = group.dir
	text, err := json.Marshal(s)
	if err != nil {
		return m, err
	}
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	runtime.LockOSThread() // the child is told when this thread ends
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, self, string(text))
	cmd.Args[0] = childArg
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("%w: %.500s", err, stderr.String())
	}
	return m, json.Unmarshal(out, &m)
}

// memoryGroup is a control group of the memory controller. The kernel charges to it what its processes make the kernel
// hold, to the byte, elements of maps included; what others do at the time is not in it.
type memoryGroup struct{ dir string }

func newMemoryGroup() (memoryGroup, error) {
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup" // version 2
	}
	g := memoryGroup{filepath.Join(root, "fairlead-bench-"+strconv.Itoa(os.Getpid()))}
	return g, os.Mkdir(g.dir, 0o755)
}

// join makes the calling process a member.
func (g memoryGroup) join() error {
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte("0"), 0o644)
}

// kernel is how many bytes the kernel holds for the members, without the page tables of the calling process.
func (g memoryGroup) kernel() (int, error) {
	tables := statusOf("VmPTE")
	if text, err := os.ReadFile(filepath.Join(g.dir, "memory.kmem.usage_in_bytes")); err == nil {
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		return n - tables, err
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "kernel "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(n))
			return n - tables, err
		}
	}
	return 0, fmt.Errorf("%s does not say what the kernel holds: enable the memory controller", g.dir)
}

// remove takes the group away once its processes are gone.
func (g memoryGroup) remove() {
	for range 100 {
		if os.Remove(g.dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// statusOf is a field of /proc/self/status that is in kB, in bytes; zero if there is none.
func statusOf(field string) int {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == field+":" {
			n, _ := strconv.Atoi(words[1])
			return n << 10
		}
	}
	return 0
}

// usedBy is the processor time of this process, or of its children that have ended, in user space and in the kernel.
func usedBy(who int) time.Duration {
	var u unix.Rusage
	if unix.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
