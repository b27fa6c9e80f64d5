package keeper

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// The cluster lives in a world of its own, whatever the shell was like that started it: its limits, priorities, ignored and
// blocked signals and open files would otherwise reach every container.

// limits are those that a service manager gives: nothing is limited but core files and, softly, what old programs count.
// What is missing here has no limit.
var limits = map[int]syscall.Rlimit{
	syscall.RLIMIT_CORE:   {Cur: 0, Max: unlimited},
	syscall.RLIMIT_NOFILE: {Cur: 1024, Max: 1 << 20}, // programs that use more raise it
	syscall.RLIMIT_STACK:  {Cur: 8 << 20, Max: unlimited},
	rlimitMemlock:         {Cur: 8 << 20, Max: 8 << 20},
	rlimitMsgqueue:        {Cur: 819200, Max: 819200},
	rlimitNice:            {},
	rlimitRTPrio:          {},
}

// Limits of Linux that package syscall does not name.
const (
	unlimited      = ^uint64(0)
	rlimitMemlock  = 8
	rlimitMsgqueue = 12
	rlimitNice     = 13
	rlimitRTPrio   = 14
	rlimitCount    = 16
)

// inheritNothing gives this process, on its only thread that forks, what a service manager would.
func inheritNothing() {
	syscall.Umask(0o022)
	for i := range rlimitCount {
		limit, ok := limits[i]
		if !ok {
			limit = syscall.Rlimit{Cur: unlimited, Max: unlimited}
		}
		raise(i, limit)
	}
	heedSignals()
	var none uint64
	const setMask = 2 // SIG_SETMASK
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
	syscall.Setpriority(syscall.PRIO_PROCESS, 0, 0)
	var normal uint32 // struct sched_param; 0 is SCHED_OTHER
	syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, 0, uintptr(unsafe.Pointer(&normal)))
	var everyCPU [16]uint64
	for i := range everyCPU {
		everyCPU[i] = ^uint64(0)
	}
	syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(everyCPU), uintptr(unsafe.Pointer(&everyCPU)))
	const ofProcess = 1 // IOPRIO_WHO_PROCESS
	syscall.RawSyscall(syscall.SYS_IOPRIO_SET, ofProcess, 0, 0)
	syscall.RawSyscall(syscall.SYS_PERSONALITY, 0, 0, 0)
	// Ending the keeper frees no memory; the main process gives itself the usual value.
	os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0o644)
}

// heedSignals lets every signal that was ignored do what it does by default, also those (32 and 33) that a C library keeps
// to itself and hands on ignored. What Go handles it gives back on exec.
func heedSignals() {
	const (
		last    = 64
		ignored = 1 // SIG_IGN
		setSize = 8 // of a set of signals, in bytes
	)
	for sig := uintptr(1); sig <= last; sig++ {
		var is, byDefault [4]uint64 // struct sigaction, whose first word is the handler
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&is)), setSize, 0, 0)
		if is[0] == ignored {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, setSize, 0, 0)
		}
	}
}

// raise sets a limit, to as much of it as this host allows.
func raise(which int, limit syscall.Rlimit) {
	if which == syscall.RLIMIT_NOFILE {
		limit.Max = min(limit.Max, openFilesMost())
	}
	if syscall.Setrlimit(which, &limit) == nil {
		return
	}
	var have syscall.Rlimit // without the right to raise it, what there is
	if syscall.Getrlimit(which, &have) == nil {
		have.Cur = min(limit.Cur, have.Max)
		syscall.Setrlimit(which, &have)
	}
}

// openFilesMost is the most that the kernel lets a process open.
func openFilesMost() uint64 {
	text, _ := os.ReadFile("/proc/sys/fs/nr_open")
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	most, err := strconv.ParseUint(string(text[:n]), 10, 64)
	if err != nil {
		return 1 << 20
	}
	return most
}

// closeFrom closes every file from a number on: a lock or a pipe of the shell that started the cluster would
// otherwise be held as long as the cluster runs.
func closeFrom(fd int) {
	const closeRange = 436 // on every architecture
	syscall.RawSyscall(closeRange, uintptr(fd), uintptr(^uint32(0)), 0)
}
