// Package heap adapts garbage collection to what a program does.
package heap

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The share of the heap that may be garbage before it is collected, in per cent of what is in use. A cluster at rest
// allocates little: collecting often costs nothing measurable and keeps memory small. A busy one would spend a quarter of its
// processor time on that. A collection costs time in proportion to what is in use, and so does what may be garbage until the next:
// a share in proportion to the rate of allocation makes collections cost the same part of a processor, some per cent,
// whatever the rate and the heap. More would not be given back to the host afterwards: what is in use comes to lie
// scattered among the garbage.
const (
	restPercent = 50
	leastBusy   = 100
	mostBusy    = 400
	busyRate    = 12 << 20 // bytes allocated in a second
	evenRate    = 16 << 20 // at which as much as is in use may be garbage
	busyPart    = 16       // of the machine's memory may be garbage
	// restAfter is how many quiet seconds in a row make a rest.
	restAfter = 4
)

// percent is the share for a heap of which live bytes are in use, on a machine with so much memory. rate is how many bytes were
// allocated in the busiest of the last seconds.
func percent(rate, live, memory uint64) int {
	if rate <= busyRate {
		return restPercent
	}
	most := min(memory/busyPart*100/max(live, 1), mostBusy)
	return int(max(min(rate*100/evenRate, most), leastBusy))
}

// Tend adapts garbage collection until ctx ends. It starts as for a busy program, since a start is. When rest begins, what
// the busy time left is given back to the host.
func Tend(ctx context.Context) {
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil {
		return // Go's defaults are good enough
	}
	memory := uint64(machine.Totalram) * uint64(machine.Unit)
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	allocated, now := samples[0].Value.Uint64(), mostBusy
	debug.SetGCPercent(now)
	var rates [restAfter]uint64 // of the last seconds
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		metrics.Read(samples)
		rate := samples[0].Value.Uint64() - allocated
		allocated += rate
		rates[i%restAfter] = rate
		next := percent(slices.Max(rates[:]), samples[1].Value.Uint64(), memory)
		if next == now {
			continue
		}
		debug.SetGCPercent(next)
		if now = next; next == restPercent {
			debug.FreeOSMemory()
		}
	}
}
