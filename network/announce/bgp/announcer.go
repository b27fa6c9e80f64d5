package bgp

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/network/announce/bgp/plan"
	"fairlead.dev/fairlead/network/world"
)

// PasswordKey is where a Secret has the password of a session.
const PasswordKey = "password"

const (
	// passwordsEvery is how often Secrets that BGPPeers name are read anew.
	passwordsEvery = 15 * time.Second
	// farewell bounds how long routers are taken leave of.
	farewell = 5 * time.Second
)

// Config says which node this is, and what it has to ask others for.
type Config struct {
	NodeName string
	Engine   []netip.AddrPort // of the L7 engine, as in nft.Config
	// Password reads what a Secret of kube-system has under PasswordKey.
	Password func(ctx context.Context, secret string) (string, error)
}

// Announcer keeps this node's sessions what the World says. Make one with New; without a BGPPeer for this node it starts nothing.
type Announcer struct {
	cfg     Config
	world   *world.World
	log     *slog.Logger
	speaker *Speaker

	// of Run alone
	served    map[types.NamespacedName][]plan.Served // nil: not known, and not needed without a BGPPeer
	passwords map[string]plan.Password

	mu       sync.Mutex // guards below
	problems map[string]string
	since    map[string]time.Time // of the problems
}

// New returns an Announcer for the World. It does nothing until Run.
func New(cfg Config, w *world.World, log *slog.Logger) *Announcer {
	return &Announcer{cfg: cfg, world: w, log: log, speaker: NewSpeaker(log, func() {}), since: map[string]time.Time{}}
}

// Run tells routers what this node serves, until ctx is done, which is not an error; then it takes leave of them. It acts on the network namespace
// of the process.
func (a *Announcer) Run(ctx context.Context) error {
	select {
	case <-a.world.Synced(): // who knows a part of the addresses would withdraw the rest
	case <-ctx.Done():
		return nil
	}
	subscription := a.world.Subscribe(world.Services, world.Nodes, world.AddressPools, world.BGPPeers)
	defer subscription.Close()
	tick := time.NewTicker(passwordsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			a.speaker.Stop(leave)
			return nil
		case <-subscription.Wake():
			if c := subscription.Take(); !c.IsEmpty() {
				a.pass(ctx, c)
			}
		case <-tick.C:
			if len(a.passwords) > 0 {
				a.pass(ctx, world.Changes{})
			}
		}
	}
}

// pass makes the sessions what the World says after some changes.
func (a *Announcer) pass(ctx context.Context, c world.Changes) {
	node := a.world.Node(a.cfg.NodeName)
	var peers []*kinds.BGPPeer
	if node != nil {
		peers = plan.Selected(node, a.world.Peers())
	}
	if len(peers) == 0 {
		a.served, a.passwords = nil, nil
		a.speaker.Apply(nil)
		a.note(nil)
		return
	}
	a.look(node, c)
	a.readPasswords(ctx, peers)
	announced := plan.Announced(node, slices.Collect(maps.Values(a.served)))
	wishes, problems := plan.Wishes(node, peers, a.world.Pools(), a.passwords, announced)
	a.speaker.Apply(wishes)
	a.note(problems)
}

// look brings what is known of Services up to date.
func (a *Announcer) look(node *corev1.Node, c world.Changes) {
	changed := slices.Collect(maps.Keys(c.Of(world.Services)))
	if _, moved := c.Of(world.Nodes)[types.NamespacedName{Name: node.Name}]; moved || a.served == nil {
		a.served, changed = map[types.NamespacedName][]plan.Served{}, a.world.Services()
	}
	for _, name := range changed {
		svc, all := a.world.Service(name)
		if s := plan.Serves(svc, all, node, a.cfg.Engine); len(s) > 0 {
			a.served[name] = s
		} else {
			delete(a.served, name)
		}
	}
}

// readPasswords reads the Secrets that BGPPeers name. One that cannot be read just now is as it was.
func (a *Announcer) readPasswords(ctx context.Context, peers []*kinds.BGPPeer) {
	before := a.passwords
	a.passwords = map[string]plan.Password{}
	for _, p := range peers {
		s := p.Spec.PasswordSecret
		if s == nil {
			continue
		}
		text, err := a.cfg.Password(ctx, s.Name)
		switch known, ok := before[s.Name]; {
		case err == nil:
			a.passwords[s.Name] = plan.Password{Text: text}
		case ok && known.Problem == "":
			a.passwords[s.Name] = known
		default:
			a.passwords[s.Name] = plan.Password{Problem: "no password: " + err.Error()}
		}
	}
}

// note keeps why there is no session, for those who ask.
func (a *Announcer) note(problems map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, problem := range problems {
		if a.problems[name] != problem {
			a.since[name] = time.Now()
			a.log.Warn("no BGP session", "peer", name, "reason", problem)
		}
	}
	maps.DeleteFunc(a.since, func(name string, _ time.Time) bool { return problems[name] == "" })
	a.problems = problems
}

// Routers are how it stands with each BGPPeer that is for this node, by name.
func (a *Announcer) Routers() []announce.Router {
	all := []announce.Router{}
	for _, s := range a.speaker.States() {
		all = append(all, announce.Router{Peer: s.Peer, Established: s.Up, Since: s.Since, Routes: s.Routes, Reason: s.Reason, Told: s.Told})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(a.problems)) {
		all = append(all, announce.Router{Peer: name, Since: a.since[name], Reason: a.problems[name]})
	}
	return all
}

// ServeHTTP answers at announce.RoutersPath.
func (a *Announcer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a.Routers()) // the caller has gone
}
