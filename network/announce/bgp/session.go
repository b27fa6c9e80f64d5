package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/config/oc"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

const (
	// retry is the pause between two calls of a router that does not answer, and bounds one call.
	retry = 5 * time.Second
	// settle is how long a router gets to act on what it was told before the next step of a farewell.
	settle = time.Second
	// deferral bounds how long routes are held back after a restart for a router that never says that it has sent all of its own.
	deferral = 5 * time.Second
)

// State is how it stands with one router.
type State struct {
	Peer   string
	Up     bool
	Since  time.Time    // of Up, or of its being down
	Reason string       // while it is down: why, as far as is known
	Routes int          // that the router is told while it is up
	Told   []netip.Addr // the addresses of these
}

// session is the connection with one router.
type session struct {
	peer    Peer
	log     *slog.Logger
	changed func()
	server  *server.BgpServer
	end     context.CancelFunc // of the watching

	mu    sync.Mutex // guards below
	state State
	said  map[string]bool // reasons that are in the log since it was up
	told  map[netip.Prefix]Route
}

// open begins a session. It returns at once; the router is called in the background until it answers.
func open(p Peer, log *slog.Logger, changed func()) (*session, error) {
	s := &session{peer: p, log: log.With("peer", p.Name), changed: changed, told: map[netip.Prefix]Route{}, said: map[string]bool{}}
	s.state = State{Peer: p.Name, Since: time.Now(), Reason: fmt.Sprintf("router %s is being called", p.At())}
	s.server = server.NewBgpServer(server.LoggerOption(slog.New(&hearing{p, s.heard}), &slog.LevelVar{}))
	go s.server.Serve()
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	if err := s.start(ctx); err != nil {
		end()
		s.server.Stop()
		return nil, fmt.Errorf("router %s: %w", p.At(), err)
	}
	return s, nil
}

// own lets a session's table take what this node says, and nothing that the router says.
var own = &api.Policy{Name: "own", Statements: []*api.Statement{{
	Name:       "own",
	Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
	Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
}}}

// start gives the server its AS, what its table takes, and its one neighbour.
func (s *session) start(ctx context.Context) error {
	global := &api.Global{
		Asn: s.peer.LocalASN, RouterId: s.peer.RouterID.String(), ListenPort: -1,
		Families: []uint32{uint32(oc.AfiSafiTypeToIntMap[oc.AFI_SAFI_TYPE_IPV4_UNICAST]), uint32(oc.AfiSafiTypeToIntMap[oc.AFI_SAFI_TYPE_IPV6_UNICAST])},
	}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return err
	}
	if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: own}); err != nil {
		return err
	}
	only := &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		Policies: []*api.Policy{own}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}
	if err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: only}); err != nil {
		return err
	}
	if err := s.server.WatchEvent(ctx, server.WatchEventMessageCallbacks{OnPeerUpdate: s.moved}, server.WatchPeer()); err != nil {
		return err
	}
	return s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: neighbour(&s.peer)})
}

// neighbour is the router in GoBGP's terms.
func neighbour(p *Peer) *api.Peer {
	n := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Addr.String(), PeerAsn: p.ASN, LocalAsn: p.LocalASN, AuthPassword: p.Password},
		Transport: &api.Transport{RemotePort: uint32(p.At().Port())},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: uint64(p.HoldTime / time.Second), ConnectRetry: uint64(retry / time.Second), IdleHoldTimeAfterReset: uint64(retry / time.Second),
		}},
	}
	if p.Hops > 1 {
		n.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.Hops)}
	}
	if p.Restart > 0 {
		// Every session begins as that of a restarted program: what the kernel forwarded before, it forwards still.
		n.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(p.Restart / time.Second), DeferralTime: uint32(deferral / time.Second), LocalRestarting: true,
		}
	}
	for _, ipv6 := range []bool{false, true} {
		if _, ok := p.NextHop(ipv6); !ok {
			continue
		}
		family := &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
		if ipv6 {
			family.Afi = api.Family_AFI_IP6
		}
		n.AfiSafis = append(n.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: family, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: p.Restart > 0}},
		})
	}
	return n
}

// heard notes why the session is not up.
func (s *session) heard(reason string) {
	s.mu.Lock()
	news := s.state.Reason != reason && !s.state.Up // what ends a session is said when it has ended
	loud := news && !s.said[reason]
	s.state.Reason = reason
	s.said[reason] = s.said[reason] || loud
	s.mu.Unlock()
	if loud {
		s.log.Warn("no BGP session", "reason", reason)
	}
	if news {
		s.changed()
	}
}

// moved notes whether the session is up.
func (s *session) moved(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	up := e.Peer.State.SessionState == bgp.BGP_FSM_ESTABLISHED
	s.mu.Lock()
	if up == s.state.Up {
		s.mu.Unlock()
		return
	}
	s.state.Up, s.state.Since = up, time.Now()
	if up {
		s.state.Reason = ""
		clear(s.said)
	} else if s.state.Reason == "" {
		s.state.Reason = fmt.Sprintf("the connection with router %s broke", s.peer.At())
	}
	state, routes := s.state, len(s.told)
	s.mu.Unlock()
	if up {
		s.log.Info("BGP session is up", "router", s.peer.At(), "routes", routes)
	} else {
		s.log.Warn("BGP session is down", "reason", state.Reason)
	}
	s.changed()
}

// now is how it stands with the router.
func (s *session) now() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	if state.Up {
		state.Routes = len(s.told)
		for prefix := range s.told {
			state.Told = append(state.Told, prefix.Addr())
		}
		slices.SortFunc(state.Told, netip.Addr.Compare)
	}
	return state
}

// tell makes what the router is told exactly the routes given. Those that the router cannot be told are left out; the error says
// which.
func (s *session) tell(routes []Route) error {
	want, failure := map[netip.Prefix]Route{}, error(nil)
	for _, r := range routes {
		if _, ok := s.peer.NextHop(r.Prefix.Addr().Is6()); ok {
			want[r.Prefix] = r
		}
	}
	s.mu.Lock()
	told := maps.Clone(s.told)
	s.mu.Unlock()
	for prefix, r := range told {
		if _, still := want[prefix]; !still {
			failure = s.withdraw(r, failure)
		}
	}
	for prefix, r := range want {
		if before, known := told[prefix]; !known || before != r {
			failure = s.announce(r, false, failure)
		}
	}
	return failure
}

// announce tells the router of a route, and returns the first failure.
func (s *session) announce(r Route, leaving bool, before error) error {
	path, err := pathOf(r, &s.peer, leaving)
	if err == nil {
		_, err = s.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}})
	}
	if err == nil {
		s.mu.Lock()
		s.told[r.Prefix] = r
		s.mu.Unlock()
	}
	return first(before, err)
}

// withdraw takes a route back from the router, and returns the first failure.
func (s *session) withdraw(r Route, before error) error {
	path, err := pathOf(r, &s.peer, false)
	if err == nil {
		err = s.server.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{path}})
	}
	if err == nil {
		s.mu.Lock()
		delete(s.told, r.Prefix)
		s.mu.Unlock()
	}
	return first(before, err)
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// leave ends the session so that no packet is lost: the router first prefers others, then has no route to here, and only then
// is the connection closed. When ctx is done it is closed at once.
func (s *session) leave(ctx context.Context) {
	s.mu.Lock()
	up, told := s.state.Up, slices.Collect(maps.Values(s.told))
	s.mu.Unlock()
	if up && len(told) > 0 {
		for _, step := range []func(Route, error) error{func(r Route, err error) error { return s.announce(r, true, err) }, s.withdraw} {
			var err error
			for _, r := range told {
				err = step(r, err)
			}
			if err != nil {
				s.log.Warn("a route cannot be taken back in order", "err", err)
			}
			pause(ctx, settle)
		}
	}
	s.end()
	s.server.Stop()
	s.log.Info("BGP session ended", "router", s.peer.At())
}

// drop ends the session at once. A router that keeps routes over a restart keeps them.
func (s *session) drop() {
	s.end()
	_ = s.server.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true}) // it fails if it is stopped already
	s.server.Stop()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
