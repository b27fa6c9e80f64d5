package nodes

import (
	"testing"
	"time"
)

// A watch that looks in time lasts; one that was away, or whose clock was set, begins again.
func TestVigil(t *testing.T) {
	start := time.Now() // with the clock that nobody sets
	var v vigil
	if got := v.at(start); !got.Equal(start) {
		t.Fatalf("since %s, want %s", got, start)
	}
	now := start
	for range 20 {
		now = now.Add(look)
		if got := v.at(now); !got.Equal(start) {
			t.Fatalf("after %s: since %s, want %s", now.Sub(start), got, start)
		}
	}
	now = now.Add(time.Minute)
	if got := v.at(now); !got.Equal(now) {
		t.Errorf("after a pause: since %s, want %s", got, now)
	}
}

func TestBroken(t *testing.T) {
	for _, c := range []struct {
		what          string
		passed, shown time.Duration
		want          bool
	}{
		{"in time", look, look, false},
		{"a little late", gap, gap, false},
		{"stopped", time.Minute, time.Minute, true},
		{"slept", look, 8 * time.Hour, true},
		{"set forward", look, look + time.Hour, true},
		{"set back", look, look - time.Hour, true},
		{"set a little", look, look + time.Second, false},
	} {
		if got := broken(c.passed, c.shown); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
