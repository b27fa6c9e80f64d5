package nodes

import "time"

// gap is how long this process may do nothing before it counts as having been away: stopped, or on a machine that slept.
// While it was, agents may have spoken to nobody, or slept as well.
const (
	gap  = 8 * time.Second
	look = gap / 4
)

// vigil knows since when this process has been watching without a gap. What happened before, or what a clock that was
// set says, is no evidence against a node.
type vigil struct {
	since, last time.Time
}

// at is since when the watch has lasted, seen now. It must be asked at least every look.
func (v *vigil) at(now time.Time) time.Time {
	if v.last.IsZero() || broken(now.Sub(v.last), now.Round(0).Sub(v.last.Round(0))) {
		v.since = now
	}
	v.last = now
	return v.since
}

// broken tells a gap between two looks by what passed on the clock that nobody sets, which may stand still while the
// machine sleeps, and by what the one on the wall showed.
func broken(passed, shown time.Duration) bool {
	return passed > gap || (shown-passed).Abs() > gap
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
