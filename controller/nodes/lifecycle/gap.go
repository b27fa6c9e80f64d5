package lifecycle

import "time"

// A process that does nothing for maxGap counts as having been away: stopped, or on a machine that slept. While it was, agents may
// have spoken to nobody, or slept as well.
const maxGap = 8 * time.Second

// CheckInterval is how often a GapDetector has to be asked at least.
const CheckInterval = maxGap / 4

// GapDetector knows since when this process has been observing without a gap. What happened before, or what a clock that was set
// says, is no evidence against a node.
type GapDetector struct {
	Since, Last time.Time
}

// Observing is since when it has lasted, seen now. It must be asked at least every CheckInterval.
func (d *GapDetector) Observing(now time.Time) time.Time {
	if d.Last.IsZero() || gap(now.Sub(d.Last), now.Round(0).Sub(d.Last.Round(0))) {
		d.Since = now
	}
	d.Last = now
	return d.Since
}

// gap tells a gap between two looks by what passed on the clock that nobody sets, which may stand still while the machine sleeps,
// and by what the one on the wall showed.
func gap(passed, shown time.Duration) bool {
	return passed > maxGap || (shown-passed).Abs() > maxGap
}
