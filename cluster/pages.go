package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"fairlead.dev/fairlead/internal/pages"
)

const (
	// pagesEvery is how often it is looked at whether the process rests, and atRest is for how much of that it may work then.
	pagesEvery = 10 * time.Second
	atRest     = pagesEvery / 20
	// worthIt is how many bytes of the program's file have to have come in since it was known what rest needs.
	worthIt = 8 << 20
)

// dropStart gives back what only starting needed, and later, whenever the process rests, what only work has needed since.
func dropStart(ctx context.Context, log *slog.Logger) {
	debug.FreeOSMemory()
	dropPages(log)
	go func() {
		tick := time.NewTicker(pagesEvery)
		defer tick.Stop()
		r := resting{worked: processorTime()}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if r.drop(filePages(), processorTime()) {
				dropPages(log)
			}
		}
	}()
}

func dropPages(log *slog.Logger) {
	if err := pages.Drop(); err != nil {
		log.Warn("memory that only a busy time needed is kept", "err", err)
	}
}

// resting decides when pages of the program's file are to be dropped.
type resting struct {
	needed int64 // bytes of it that rest needs, as it was seen after the last drop; 0: that is not known
	fresh  bool  // they were dropped when it was looked last
	worked time.Duration
}

// drop reports whether they are to be now, by the bytes of the file that are in memory, and the processor time of the process so far.
func (r *resting) drop(resident int64, worked time.Duration) bool {
	busy := worked-r.worked > atRest
	if r.worked = worked; busy {
		r.fresh = false
		return false
	}
	if r.fresh {
		r.needed = resident
	}
	r.fresh = r.needed == 0 || resident-r.needed >= worthIt
	return r.fresh
}

// filePages is how many bytes of files are resident in this process; 0 if that cannot be known.
func filePages() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(text)
	if len(f) < 3 {
		return 0
	}
	n, err := strconv.ParseInt(string(f[2]), 10, 64)
	if err != nil {
		return 0
	}
	return n * int64(os.Getpagesize())
}

// processorTime is what the process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
