package reported

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/why"
)

// state is what is remembered of one finding as long as it is true.
type state struct {
	code, about string // of the finding
	since       time.Time
	Reported    bool
	still       bool
}

// Memory is what is known about one Service with which something is wrong.
type Memory struct {
	uid    types.UID // of the object that it is about
	States []state   // few
	Slot   time.Time // when it may report; zero: it has not asked
}

// Key is an Event of an earlier run of the program.
type Key struct {
	UID  types.UID // of the object that it is about
	Code string    // of the finding
}

// Observe takes in what is wrong now. It forgets what is not any more, so that it is reported anew should it return, and what was
// reported before counts. It returns when the next finding is worth reporting, zero when everything has been.
func (m *Memory) Observe(uid types.UID, found []why.Finding, before map[Key]bool, now time.Time) (next time.Time) {
	if m.uid != uid {
		m.uid, m.States = uid, nil
	}
	for i := range m.States {
		m.States[i].still = false
	}
	for i := range found {
		s := m.of(&found[i])
		if s == nil {
			m.States = append(m.States, state{code: found[i].Code, about: found[i].About, since: now, Reported: before[Key{UID: uid, Code: found[i].Code}]})
			s = &m.States[len(m.States)-1]
		}
		s.still = true
		if s.Reported {
			continue
		}
		if at := s.since.Add(found[i].After); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	m.States = slices.DeleteFunc(m.States, func(s state) bool { return !s.still })
	return next
}

// of returns what is remembered of a finding, nil when it is new.
func (m *Memory) of(f *why.Finding) *state {
	i := slices.IndexFunc(m.States, func(s state) bool { return s.code == f.Code && s.about == f.About })
	if i < 0 {
		return nil
	}
	return &m.States[i]
}

// Due returns the findings that are worth reporting now and have not been, and takes them as reported.
func (m *Memory) Due(found []why.Finding, now time.Time) []why.Finding {
	var fresh []why.Finding
	for i := range found {
		s := m.of(&found[i])
		if s == nil || s.Reported || s.since.Add(found[i].After).After(now) {
			continue
		}
		s.Reported = true
		fresh = append(fresh, found[i])
	}
	return fresh
}

// RateLimit deals out moments at which a Service may report what is wrong with it: many at once if there were few lately, else one in
// each interval. Few are dealt out in advance, so that a Service that goes wrong today does not wait for all that did before.
type RateLimit struct {
	Interval time.Duration
	Burst    int // moments at once, and in advance
	Next     time.Time
}

// Slot returns the next moment that is free, now or later. When none is, ok is false: ask again at that time.
func (r *RateLimit) Slot(now time.Time) (at time.Time, ok bool) {
	ahead := time.Duration(r.Burst) * r.Interval
	if earliest := now.Add(r.Interval - ahead); r.Next.Before(earliest) {
		r.Next = earliest
	}
	at = r.Next
	if at.After(now.Add(ahead)) {
		return at, false
	}
	r.Next = at.Add(r.Interval)
	if at.Before(now) {
		at = now
	}
	return at, true
}
