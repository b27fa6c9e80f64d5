package life

import "time"

// Back-off of restarts and of image pulls (kubelet, rule R40).
const (
	FirstDelay = 10 * time.Second
	MaxDelay   = 300 * time.Second
	CleanRun   = 10 * time.Minute // a run this long makes a container start afresh
)

// NextDelay is the wait that a container has to observe after its next end, given the wait before and how long it ran last. The
// first restart is immediate, so delay 0 becomes 10 s, then 20 s, up to 300 s.
func NextDelay(delay, ran time.Duration) time.Duration {
	if delay == 0 || ran >= CleanRun {
		return FirstDelay
	}
	return min(2*delay, MaxDelay)
}
