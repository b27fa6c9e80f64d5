// Package keeper keeps a cluster's main process alive: it starts it, waits for it, and starts it again when it has died.
//
// The keeper is the same program as what it keeps, and yet costs next to nothing: it is the initialisation of this package,
// which never returns. Go initialises packages in the order of their paths as soon as what they import is ready, and this one
// imports only what the system needs, so the libraries of the program have not touched any memory yet. Nothing may be
// imported here that is initialised later, which a test watches.
package keeper

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"fairlead.dev/fairlead/internal/pages"
)

const (
	// Command is the argument that makes the program a keeper. The next ones are the data directory, the number of the main
	// process if there is one already, and what the main process is to be told.
	Command = "keep"
	// LockFile in the data directory is held by the keeper while it lives, and has its process number.
	LockFile = "keeper.lock"
	// RecordFile in the data directory tells how often the main process died since `up`, and why.
	RecordFile = "restarts.json"
)

// The files that a main process is born with, beside the log.
const (
	reportFD = 3 // where the stages of a start are told; the keeper's own at the same place, at first
	readyFD  = 4 // a byte is written to it when the cluster is ready
)

// Path is where programs are looked for, whatever the shell that started this one thinks.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func init() {
	if len(os.Args) > 3 && os.Args[1] == Command {
		os.Exit(keep(os.Args[2], os.Args[3], os.Args[4:]))
	}
}

// keep returns when the main process has ended as it was told to, or dies too often to be worth another try.
func keep(dir, adopted string, args []string) int {
	pid, _ := strconv.Atoi(adopted)
	if pid == 0 {
		closeFrom(reportFD + 1)
	} else {
		closeFrom(reportFD)
	}
	inheritNothing()
	if err := hold(dir + "/" + LockFile); err != nil {
		say("this cluster has a keeper already", "err", err.Error())
		return 1
	}
	os.Remove(dir + "/" + RecordFile)
	k := &keeper{dir: dir, args: args}
	if pid != 0 {
		say("the main process was found without a keeper", "pid", adopted)
		if k.died(k.watch(pid)) {
			return 1
		}
	}
	for {
		l, err := k.life()
		if err != nil {
			say("the main process cannot be started", "err", err.Error())
			return 1
		}
		if l.ended || k.died(l) {
			return 0
		}
	}
}

type keeper struct {
	dir  string
	args []string
	history
}

// life runs the main process once.
func (k *keeper) life() (life, error) {
	var ready [2]int
	if err := syscall.Pipe2(ready[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return life{}, err
	}
	defer syscall.Close(ready[0])
	report, err := k.reports()
	if err != nil {
		return life{}, err
	}
	log, born := logSize(), time.Now()
	argv := append([]string{"fairlead", "run", "--data-dir", k.dir, "--keeper", strconv.Itoa(os.Getpid()),
		"--report-fd", strconv.Itoa(reportFD), "--ready-fd", strconv.Itoa(readyFD)}, k.args...)
	pid, err := syscall.ForkExec(self(), argv, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + Path}, Files: []uintptr{0, 1, 2, uintptr(report), uintptr(ready[1])},
	})
	syscall.Close(report)
	syscall.Close(ready[1])
	if err != nil {
		return life{}, err
	}
	pages.Drop() // costs nothing if it fails
	status, err := wait(pid)
	if err != nil {
		return life{}, err
	}
	var mark [1]byte
	n, _ := syscall.Read(ready[0], mark[:])
	return life{ended: status.Exited() && status.ExitStatus() == 0, ready: n == 1, lasted: time.Since(born), reason: reason(status, log)}, nil
}

// reports is where the next main process tells of its start: the waiting `up` for the first, nobody for the others.
func (k *keeper) reports() (int, error) {
	if k.lives++; k.lives == 1 && !k.foundling {
		return reportFD, nil
	}
	return syscall.Open(os.DevNull, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
}

// watch waits for the end of a main process that another keeper has started.
func (k *keeper) watch(pid int) life {
	k.foundling = true
	log, born := logSize(), time.Now()
	pages.Drop()
	waitForeign(pid)
	why := cause(log)
	if why == "" {
		why = "it ended, and nobody was there to see how"
	}
	return life{ready: true, lasted: time.Since(born), reason: why}
}

// died notes how a life ended and waits before the next. It reports whether there should be none.
func (k *keeper) died(l life) bool {
	pause, again := k.next(l)
	if k.lives == 1 && !k.foundling && !l.ready {
		return true // the `up` that waits tells why
	}
	text := strconv.Itoa(k.restarts)
	if !again {
		say("the main process cannot be kept alive; no further try", "restarts", text, "reason", l.reason)
	} else {
		say("the main process has ended and is started again", "restarts", text, "reason", l.reason, "pause", pause.String())
	}
	k.record(l.reason, !again)
	time.Sleep(pause)
	return !again
}
