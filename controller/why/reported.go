package why

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/why"
)

// state is what is remembered of one finding as long as it is true.
type state struct {
	code, about     string // of the finding
	since           time.Time
	reported, still bool
}

// memory is what is known about one Service with which something is wrong.
type memory struct {
	uid    types.UID // of the object that it is about
	states []state   // few
	slot   time.Time // when it may report; zero: it has not asked
}

// reported is an Event of an earlier run of the program.
type reported struct {
	uid  types.UID
	code string
}

// observe takes in what is wrong now. It forgets what is not any more, so that it is reported anew should it return, and what was
// reported before counts. It returns when the next finding is worth reporting, zero when everything has been.
func (m *memory) observe(uid types.UID, found []why.Finding, before map[reported]bool, now time.Time) (next time.Time) {
	if m.uid != uid {
		m.uid, m.states = uid, nil
	}
	for i := range m.states {
		m.states[i].still = false
	}
	for i := range found {
		s := m.of(&found[i])
		if s == nil {
			m.states = append(m.states, state{code: found[i].Code, about: found[i].About, since: now, reported: before[reported{uid, found[i].Code}]})
			s = &m.states[len(m.states)-1]
		}
		s.still = true
		if s.reported {
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
func (m *memory) of(f *why.Finding) *state {
	i := slices.IndexFunc(m.states, func(s state) bool { return s.code == f.Code && s.about == f.About })
	if i < 0 {
		return nil
	}
	return &m.states[i]
}

// due returns the findings that are worth reporting now and have not been, and takes them as reported.
func (m *memory) due(found []why.Finding, now time.Time) []why.Finding {
	var fresh []why.Finding
	for i := range found {
		s := m.of(&found[i])
		if s == nil || s.reported || s.since.Add(found[i].After).After(now) {
			continue
		}
		s.reported = true
		fresh = append(fresh, found[i])
	}
	return fresh
}

// rateLimit deals out moments at which a Service may report what is wrong with it: many at once if there were few lately, else one in
// each interval. Few are dealt out in advance, so that a Service that goes wrong today does not wait for all that did before.
type rateLimit struct {
	interval time.Duration
	burst    int // moments at once, and in advance
	next     time.Time
}

// slot returns the next moment that is free, now or later. When none is, ok is false: ask again at that time.
func (r *rateLimit) slot(now time.Time) (at time.Time, ok bool) {
	ahead := time.Duration(r.burst) * r.interval
	if earliest := now.Add(r.interval - ahead); r.next.Before(earliest) {
		r.next = earliest
	}
	at = r.next
	if at.After(now.Add(ahead)) {
		return at, false
	}
	r.next = at.Add(r.interval)
	if at.Before(now) {
		at = now
	}
	return at, true
}
