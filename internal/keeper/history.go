package keeper

import "time"

// When a main process that died is started again: soon, then after longer and longer pauses. One that was ready is
// started again for ever, one that does not even become so only so often: what is damaged mends by hand only.
const (
	firstPause  = 100 * time.Millisecond
	lastPause   = 30 * time.Second
	steady      = time.Minute // a life of this length is not part of a series
	unreadyMost = 10
)

// life is how a main process lived.
type life struct {
	ended  bool // as it was told to
	ready  bool // it has been
	lasted time.Duration
	reason string // of its end
}

// history is what earlier lives say about the next one.
type history struct {
	foundling bool // the first was another keeper's
	lives     int  // that this keeper began
	restarts  int
	series    int // deaths in a row
	unready   int // of those, the last ones that were never ready
}

// next is the pause after a life before another, and whether there is to be one.
func (h *history) next(l life) (pause time.Duration, again bool) {
	if l.lasted >= steady {
		h.series = 0
	}
	h.series++
	if h.unready++; l.ready {
		h.unready = 0
	}
	if h.unready >= unreadyMost {
		return 0, false
	}
	h.restarts++
	pause = lastPause
	if h.series < 16 {
		pause = min(firstPause<<(h.series-1), lastPause)
	}
	return pause, true
}
