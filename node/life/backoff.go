package life

import "time"

// Back-off of restarts and of image pulls (kubelet, rule R40).
const (
	FirstDelay = 10 * time.Second
	MaxDelay   = 300 * time.Second
	CleanRun   = 10 * time.Minute // a run this long makes a container start afresh
)

// NextDelay is the wait that a container has to observe after its next end, given the wait before and its last run. The first
// restart is immediate, so delay 0 becomes 10 s, then 20 s, up to 300 s.
func NextDelay(delay time.Duration, last *Container) time.Duration {
	// One that could not be started has an end and no beginning: it has not run at all.
	if clean := !last.Started.IsZero() && last.Finished.Sub(last.Started) >= CleanRun; clean {
		return FirstDelay
	}
	return Grow(delay, FirstDelay, MaxDelay)
}

// Grow is the wait after one more failure in a row: the first, then each time twice the one before, up to the last.
func Grow(delay, first, last time.Duration) time.Duration { return min(max(2*delay, first), last) }
