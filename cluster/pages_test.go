package cluster

import (
	"testing"
	"time"
)

// The program's pages are dropped when it rests after work that has brought some in, once, and never while it works.
func TestResting(t *testing.T) {
	const mb = 1 << 20
	r, worked := &resting{}, time.Duration(0)
	for i, step := range []struct {
		resident int64
		work     time.Duration
		drop     bool
	}{
		{60 * mb, time.Second, false}, // after the start it is busy still
		{60 * mb, 0, true},            // what rest needs is not known
		{50 * mb, time.Second, false}, // nor now
		{50 * mb, 0, true},
		{30 * mb, 0, false}, // now it is
		{30 * mb, 0, false},
		{37 * mb, 0, false}, // not worth it
		{60 * mb, 9 * time.Second, false},
		{60 * mb, 10 * time.Millisecond, true},
		{42 * mb, 0, false}, // rest needs more by now
		{42 * mb, 0, false},
		{50 * mb, 0, true}, // by work that takes no time
		{35 * mb, 0, false},
	} {
		worked += step.work
		if got := r.drop(step.resident, worked); got != step.drop {
			t.Errorf("step %d: %v with %d MB after %s of work", i, got, step.resident/mb, step.work)
		}
	}
	if n := filePages(); n < mb {
		t.Errorf("%d bytes of files are resident", n)
	}
}
