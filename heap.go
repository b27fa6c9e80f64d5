package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The share of the heap that may be garbage before it is collected, in per cent of what is in use. A cluster at rest
// allocates little: collecting often costs nothing measurable and keeps memory small. A busy one would spend a quarter of its
// processor time on that, so it may leave more, up to busyGarbage, and a heap that is large anyway as much again.
const (
	restPercent = 50
	leastBusy   = 100
	mostBusy    = 400
	busyGarbage = 192 << 20 // bytes
	busyRate    = 12 << 20  // bytes allocated in a second
	// restAfter is how many quiet seconds in a row make a rest.
	restAfter = 4
)

// gcPercent is the share for a heap of which live bytes are in use.
func gcPercent(busy bool, live uint64) int {
	if !busy {
		return restPercent
	}
	return int(min(max(busyGarbage*100/max(live, 1), leastBusy), mostBusy))
}

// tendHeap adapts garbage collection to what the program does until ctx ends. It starts as for a busy program, since a start
// is. When rest begins, what the busy time left is given back to the host.
func tendHeap(ctx context.Context) {
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
		next := gcPercent(quiet < restAfter, samples[1].Value.Uint64())
		if next == percent {
			continue
		}
		debug.SetGCPercent(next)
		if percent = next; next == restPercent {
			debug.FreeOSMemory()
		}
	}
}
