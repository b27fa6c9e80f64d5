package bgp

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Speaker keeps sessions with routers. Make one with NewSpeaker; it starts nothing until it is told of a router.
type Speaker struct {
	log     *slog.Logger
	changed func()
	leaving sync.WaitGroup

	mu       sync.Mutex // guards below
	sessions map[string]*session
	refused  map[string]State // by name: Peers that no session could be begun for
}

// NewSpeaker returns a Speaker. Whenever one of its States may have changed it calls changed, which must not block or call it back.
func NewSpeaker(log *slog.Logger, changed func()) *Speaker {
	return &Speaker{log: log, changed: changed, sessions: map[string]*session{}, refused: map[string]State{}}
}

// Apply makes the sessions and what the routers are told exactly what is wished. It waits for no router; one that is not wished any more is taken leave of in the background.
func (s *Speaker) Apply(wishes []Wish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := map[string]bool{}
	for _, w := range wishes {
		named[w.Peer.Name] = true
	}
	for name, old := range s.sessions {
		if !named[name] {
			delete(s.sessions, name)
			s.leaving.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), farewell)
				defer cancel()
				old.leave(ctx)
			})
		}
	}
	clear(s.refused)
	for _, w := range wishes {
		s.apply(w)
	}
}

// apply makes one session what is wished. The caller holds mu.
func (s *Speaker) apply(w Wish) {
	at := s.sessions[w.Peer.Name]
	if at != nil && at.peer != w.Peer {
		delete(s.sessions, w.Peer.Name)
		at.drop()
		at = nil
	}
	if at == nil {
		begun, err := open(w.Peer, s.log, s.changed)
		if err != nil {
			s.log.Error("cannot begin a BGP session", "peer", w.Peer.Name, "err", err)
			s.refused[w.Peer.Name] = State{Peer: w.Peer.Name, Since: time.Now(), Reason: err.Error()}
			return
		}
		at = begun
		s.sessions[w.Peer.Name] = at
	}
	if err := at.tell(w.Routes); err != nil {
		s.log.Error("cannot announce a route", "peer", w.Peer.Name, "err", err)
	}
}

// States are how it stands with each router, by name.
func (s *Speaker) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]State, 0, len(s.sessions)+len(s.refused))
	for _, at := range s.sessions {
		all = append(all, at.now())
	}
	for _, r := range s.refused {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b State) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// Stop takes leave of all routers, side by side, and returns when that is done or, soon, when ctx is.
func (s *Speaker) Stop(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, at := range s.sessions {
		delete(s.sessions, name)
		s.leaving.Go(func() { at.leave(ctx) })
	}
	s.leaving.Wait()
}
