package lifecycle

import (
	"testing"
	"time"
)

// A watch that looks in time lasts; one that was away, or whose clock was set, begins again.
func TestGapDetector(t *testing.T) {
	start := time.Now() // with the clock that nobody sets
	var d GapDetector
	if got := d.Observing(start); !got.Equal(start) {
		t.Fatalf("since %s, want %s", got, start)
	}
	now := start
	for range 20 {
		now = now.Add(CheckInterval)
		if got := d.Observing(now); !got.Equal(start) {
			t.Fatalf("after %s: since %s, want %s", now.Sub(start), got, start)
		}
	}
	now = now.Add(time.Minute)
	if got := d.Observing(now); !got.Equal(now) {
		t.Errorf("after a pause: since %s, want %s", got, now)
	}
}

func TestGap(t *testing.T) {
	for _, c := range []struct {
		what          string
		passed, shown time.Duration
		want          bool
	}{
		{"in time", CheckInterval, CheckInterval, false},
		{"a little late", maxGap, maxGap, false},
		{"stopped", time.Minute, time.Minute, true},
		{"slept", CheckInterval, 8 * time.Hour, true},
		{"set forward", CheckInterval, CheckInterval + time.Hour, true},
		{"set back", CheckInterval, CheckInterval - time.Hour, true},
		{"set a little", CheckInterval, CheckInterval + time.Second, false},
	} {
		if got := gap(c.passed, c.shown); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
