package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// The share of the heap that may be garbage before it is collected, in per cent of what is in use. A cluster at rest
// allocates little: collecting often costs nothing measurable and keeps memory small. A busy one would spend a quarter of its
// processor time on that, so it may leave more: up to a sixteenth of the machine's memory, and never less than a heap
// weighs.
const (
	restPercent = 50
	leastBusy   = 100
	mostBusy    = 400
	busyPart    = 16       // of the machine's memory
	busyRate    = 12 << 20 // bytes allocated in a second
	// restAfter is how many quiet seconds in a row make a rest.
	restAfter = 4
)

// gcPercent is the share for a heap of which live bytes are in use, on a machine with so much memory.
func gcPercent(busy bool, live, memory uint64) int {
	if !busy {
		return restPercent
	}
	return int(min(max(memory/busyPart*100/max(live, 1), leastBusy), mostBusy))
}

// tendHeap adapts garbage collection to what the program does until ctx ends. It starts as for a busy program, since a start
// is. When rest begins, what the busy time left is given back to the host.
func tendHeap(ctx context.Context) {
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil {
		return // Go's defaults are good enough
	}
	memory := uint64(machine.Totalram) * uint64(machine.Unit)
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	allocated, percent, quiet := samples[0].Value.Uint64(), mostBusy, 0
	debug.SetGCPercent(percent)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		metrics.Read(samples)
		rate := samples[0].Value.Uint64() - allocated
		allocated += rate
		if quiet++; rate > busyRate {
			quiet = 0
		}
		next := gcPercent(quiet < restAfter, samples[1].Value.Uint64(), memory)
		if next == percent {
			continue
		}
		debug.SetGCPercent(next)
		if percent = next; next == restPercent {
			debug.FreeOSMemory()
		}
	}
}
