package why

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// state is what is remembered of one finding as long as it is true.
type state struct {
	reason, about string // of the finding
	since         time.Time
	told, still   bool
}

// memory is what is known about one Service with which something is wrong.
type memory struct {
	uid    types.UID // of the object that it is about
	states []state   // few
	slot   time.Time // when it may tell; zero: it has not asked
}

// told is an Event of an earlier run of the program.
type told struct {
	uid    types.UID
	reason string
}

// weigh takes in what is wrong now. It forgets what is not any more, so that it is told anew should it return, and what was told
// before counts as told. It returns when the next finding is worth telling, zero when everything has been told.
func (m *memory) weigh(uid types.UID, found []Finding, before map[told]bool, now time.Time) (next time.Time) {
	if m.uid != uid {
		m.uid, m.states = uid, nil
	}
	for i := range m.states {
		m.states[i].still = false
	}
	for i := range found {
		s := m.of(&found[i])
		if s == nil {
			m.states = append(m.states, state{reason: found[i].Reason, about: found[i].About, since: now, told: before[told{uid, found[i].Reason}]})
			s = &m.states[len(m.states)-1]
		}
		s.still = true
		if s.told {
			continue
		}
		if at := s.since.Add(found[i].After); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	m.states = slices.DeleteFunc(m.states, func(s state) bool { return !s.still })
	return next
}

// of returns what is remembered of a finding, nil when it is new.
func (m *memory) of(f *Finding) *state {
	i := slices.IndexFunc(m.states, func(s state) bool { return s.reason == f.Reason && s.about == f.About })
	if i < 0 {
		return nil
	}
	return &m.states[i]
}

// tell returns the findings that are worth telling now and have not been, and takes them as told.
func (m *memory) tell(found []Finding, now time.Time) []Finding {
	var fresh []Finding
	for i := range found {
		s := m.of(&found[i])
		if s == nil || s.told || s.since.Add(found[i].After).After(now) {
			continue
		}
		s.told = true
		fresh = append(fresh, found[i])
	}
	return fresh
}

// pace deals out moments at which a Service may tell what is wrong with it: many at once if there were few lately, else one in
// each interval. Few are dealt out in advance, so that a Service that goes wrong today does not wait for all that did before.
type pace struct {
	interval time.Duration
	burst    int // moments at once, and in advance
	next     time.Time
}

// slot returns the next moment that is free, now or later. When none is, ok is false: ask again at that time.
func (p *pace) slot(now time.Time) (at time.Time, ok bool) {
	ahead := time.Duration(p.burst) * p.interval
	if earliest := now.Add(p.interval - ahead); p.next.Before(earliest) {
		p.next = earliest
	}
	at = p.next
	if at.After(now.Add(ahead)) {
		return at, false
	}
	p.next = at.Add(p.interval)
	if at.Before(now) {
		at = now
	}
	return at, true
}
