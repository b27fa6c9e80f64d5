// Package heap adapts garbage collection to what a program does, and to the memory that it may take.
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
	// A burst, such as writing large definitions, is soon over, and what it takes stays: so many bytes may be garbage in it, or as
	// much as is in use. A load that lasts is worth more memory.
	burst     = 96 << 20
	burstTime = 60 // seconds
	// restAfter is how many quiet seconds in a row make a rest.
	restAfter = 4
)

// percent is the share for a heap of which live bytes are in use, on a machine with so much memory. rate is how many bytes were
// allocated in the busiest of the last seconds; busy is for how many seconds there was no rest.
func percent(rate, live, memory uint64, busy int) int {
	if rate <= busyRate {
		return restPercent
	}
	live = max(live, 1)
	most := min(memory/busyPart*100/live, mostBusy)
	if busy <= burstTime {
		most = min(most, burst*100/live)
	}
	return int(max(min(rate*100/evenRate, most), leastBusy))
}

// Return asks that memory which is no longer in use be given back to the host once the program rests: when something large was let
// go of. Without it that waits until the program has allocated as much again.
func Return() {
	select {
	case returns <- struct{}{}:
	default: // asked already
	}
}

var returns = make(chan struct{}, 1)

// Tend adapts garbage collection until ctx ends. It starts as for a busy program, since a start is. When rest begins, what
// the busy time left is given back to the host.
func Tend(ctx context.Context) {
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil {
		return // Go's defaults are good enough
	}
	t := tender{memory: uint64(machine.Totalram) * uint64(machine.Unit), own: debug.SetMemoryLimit(-1), percent: mostBusy}
	t.allocated = t.read().allocated
	debug.SetGCPercent(t.percent)
	t.limit(t.read())
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-returns:
			t.due = restAfter
		case <-second.C:
			t.tick()
		}
	}
}

// tender is the state of Tend.
type tender struct {
	memory    uint64 // of the machine
	own       int64  // limit that the environment sets
	allocated uint64
	rates     [restAfter]uint64 // of the last seconds
	ticks     int
	percent   int
	busy      int // seconds without a rest
	due       int // seconds until memory is to be given back; 0: nothing is to be
}

// use is what the program's memory is used for, in bytes.
type use struct{ allocated, live, total uint64 }

func (t *tender) read() use {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	return use{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64() - samples[3].Value.Uint64()}
}

// tick is done every second.
func (t *tender) tick() {
	now := t.read()
	t.rates[t.ticks%restAfter] = now.allocated - t.allocated
	t.allocated = now.allocated
	t.ticks++
	t.busy++
	next := percent(slices.Max(t.rates[:]), now.live, t.memory, t.busy)
	if next == restPercent {
		t.busy = 0
	} else {
		t.limit(now) // a program at rest comes to no limit
	}
	if next != t.percent {
		debug.SetGCPercent(next)
		if t.percent = next; next == restPercent {
			t.due = 1
		}
	}
	if t.due > 0 && next == restPercent {
		if t.due--; t.due == 0 {
			debug.FreeOSMemory()
		}
	}
}

// limit has garbage collected earlier when memory runs short on the host or in a control group.
func (t *tender) limit(now use) {
	debug.SetMemoryLimit(min(limit(now, headroom("/")), t.own))
}
