package packet

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
	"fairlead.dev/fairlead/network/nft/plan"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the random walk of a failure; 0 takes a new one")

// walk is a random sequence of Services in a lab's World.
type walk struct {
	*lab
	rnd      *rand.Rand
	universe lbtest.Universe
	services []*corev1.Service // nil where there is none now
	slices   [][]*discoveryv1.EndpointSlice
	served   map[visit]map[string]bool // who served a visitor in this wave of packets
	stuck    map[visit]map[string]bool // and in the one before
	returned int                       // visitors of both
	through  int                       // connections that came to an engine
	verdicts map[lb.Verdict]int
	tracers  map[*node]*plan.Tracer // the plans of the nodes, in the lab's family
}

// visit is what a node remembers a client by.
type visit struct {
	entry, port string
	local       bool
	source      netip.Addr
}

// client is where packets of the walk come from.
type client struct {
	machine
	origin lb.Origin
	on     *node // nil for the outside
}

func newWalk(l *lab, seed uint64, services int) *walk {
	return &walk{
		lab: l, rnd: rand.New(rand.NewPCG(seed, 0)), verdicts: map[lb.Verdict]int{},
		services: make([]*corev1.Service, services), slices: make([][]*discoveryv1.EndpointSlice, services),
		universe: lbtest.Universe{
			Nodes: []string{"a", "b"}, Zones: []string{"zone-a", "zone-b", ""}, Ports: []int32{8080, 8081},
			Services: l.f.services, Here: []netip.Addr{l.a1.ip, l.a2.ip, l.a.ip}, Away: []netip.Addr{l.b1.ip, l.b2.ip, l.b.ip},
			Abroad:   []netip.Addr{l.out.ip},
			External: []netip.Addr{l.ext(1).Addr(), l.ext(2).Addr(), l.ext(3).Addr(), l.ext(4).Addr(), l.ext(5).Addr(), l.ext(6).Addr()},
			Sources: []netip.Prefix{l.f.podRanges[0], bare(l.b1.ip), bare(l.out.ip), bare(l.a.ip), bare(l.f.elsewhere),
				netip.PrefixFrom(l.f.outside, l.f.outside.BitLen()-7).Masked(), netip.PrefixFrom(l.f.outside, l.f.outside.BitLen()-8).Masked()},
		},
	}
}

// step replaces or deletes some of the Services and their endpoints.
func (w *walk) step() {
	for n := range w.services {
		if w.services[n] != nil && w.rnd.IntN(3) > 0 {
			continue
		}
		if w.services[n] != nil && w.rnd.IntN(5) == 0 {
			w.world.Delete(w.services[n])
			w.services[n] = nil
		} else if w.rnd.IntN(3) > 0 || w.services[n] == nil {
			w.services[n] = w.universe.Service(w.rnd, n)
			if how := w.rnd.IntN(6); how < 2 {
				w.services[n].Annotations = map[string]string{api.AnnotationBalance: []string{api.BalanceByClient, api.BalanceInTurn}[how], api.AnnotationL7: w.services[n].Annotations[api.AnnotationL7]}
			}
			w.world.Put(w.services[n])
		}
		for _, s := range w.slices[n] {
			w.world.Delete(s)
		}
		w.slices[n] = w.universe.Slices(w.rnd, n)
		for _, s := range w.slices[n] {
			w.world.Put(s)
		}
	}
	w.settle()
	w.tracers = map[*node]*plan.Tracer{}
	for _, n := range []*node{w.a, w.b} {
		for _, table := range n.proxy.Plan() {
			if table.Family.V6 == n.ip.Is6() {
				w.tracers[n] = plan.NewTracer(table, append(slices.Clone(n.face), n.engine.ip), nil)
			}
		}
	}
	// A datagram from a port that an earlier round used would go the old way,
	// as it should.
	for _, n := range []*node{w.a, w.b} {
		if out, err := n.Command("conntrack", "-F"); err != nil {
			w.t.Fatal(err, out)
		}
	}
}

func (w *walk) objects() (services []*corev1.Service, all []*discoveryv1.EndpointSlice) {
	services = slices.DeleteFunc(slices.Clone(w.services), func(s *corev1.Service) bool { return s == nil })
	return services, slices.Concat(w.slices...)
}

// journey is a packet, which node's rules it meets, and what they have to do.
type journey struct {
	lb.Packet
	entry *node // nil if it meets none that care
	want  lb.Outcome
}

// plan says what has to become of a packet of a client: the rules of its own
// node come first, and if they have nothing to say those of the node it gets to.
func (w *walk) plan(from client, source netip.Addr, p lb.Packet, services []*corev1.Service, all []*discoveryv1.EndpointSlice) journey {
	p.Source = source
	at := func(n *node, origin lb.Origin) lb.Outcome {
		p.Origin = origin
		return lb.Expect(p, services, all, lb.Node{Name: n.name, Zone: "zone-" + n.name, Addrs: []netip.Addr{n.ip}, IPv6: n.ip.Is6(), Engine: w.engine()})
	}
	j := journey{Packet: p}
	path := []*node{w.a} // by the router
	switch {
	case p.Dest.Addr() == w.b.ip:
		path = []*node{w.b}
	case p.Dest.Addr() != w.a.ip && from.on != nil:
		path = nil // what the client's own node does not take is lost
	}
	if from.on != nil {
		path = append([]*node{from.on}, path...)
	}
	for i, n := range slices.Compact(path) {
		origin := lb.FromOutside
		if i == 0 {
			origin = from.origin
		}
		j.entry, j.want = n, at(n, origin)
		if !j.want.Served && w.f.services.Contains(p.Dest.Addr()) { // rule P49
			j.want = lb.Outcome{Served: true, Verdict: lb.Drop}
		}
		if j.want.Served {
			break
		}
	}
	j.Packet = p
	return j
}

// engine is where nodes have their engines in the lab's family.
func (w *walk) engine() netip.AddrPort {
	return netip.AddrPortFrom(w.a.engine.ip, lb.EngineIPv4.Port())
}

// planned holds the outcomes that the plan of the node allows against the specification.
func (w *walk) planned(j journey) error {
	if j.entry == nil {
		return nil
	}
	reached := map[netip.AddrPort]bool{}
	for _, way := range w.tracers[j.entry].All(plan.Packet{Packet: j.Packet, SourcePort: 1024}) {
		if way.Served != j.want.Served || way.Verdict != j.want.Verdict || way.Served && way.Verdict == lb.Forward && !j.want.Backends[way.Dest] {
			return fmt.Errorf("the plan does otherwise:\n%s", way)
		}
		reached[way.Dest] = true
	}
	if len(reached) != len(j.want.Backends) && len(j.want.Backends) > 0 && len(reached) != 1 { // a client that chooses has one choice
		return fmt.Errorf("the plan reaches %v", reached)
	}
	return nil
}

// traced holds what a connection did against what the plan does with its packet.
func (w *walk) traced(j journey, to netip.Addr, replaced bool) error {
	var lines []string
	for _, way := range w.tracers[j.entry].All(plan.Packet{Packet: j.Packet, SourcePort: 1024}) {
		if lines = append(lines, way.String()); way.Dest.Addr() == to && (way.Masquerade == replaced || j.Origin == lb.FromNode || w.tracers[j.entry].Local(to)) {
			return nil
		}
	}
	if j.want.Sticky != "" { // it may be whom the client had before, which a trace of one packet does not know
		return nil
	}
	return fmt.Errorf("%s answered, source replaced: %v; the plan has\n%s", to, replaced, strings.Join(lines, "or\n"))
}

// check says how the result of a connection differs from what was planned.
func (w *walk) check(j journey, r netlab.Result) error {
	if err := w.planned(j); err != nil {
		return err
	}
	switch {
	case !j.want.Served:
		if r.Err == nil {
			return fmt.Errorf("nobody should answer, %q did", r.Answer.Name)
		}
		return nil
	case j.want.Verdict == lb.Refuse && !errors.Is(r.Err, syscall.ECONNREFUSED),
		j.want.Verdict == lb.Drop && !errors.Is(r.Err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%+v, %v", r.Answer, r.Err)
	case j.want.Verdict != lb.Forward:
		return nil
	case r.Err != nil:
		return r.Err
	}
	machines := []machine{w.a1, w.a2, w.a.machine, w.b1, w.b2, w.b.machine, w.out, w.a.engine, w.b.engine}
	to := machines[slices.IndexFunc(machines, func(m machine) bool { return m.name == r.Answer.Name })]
	if to.name == "engine-"+j.entry.name && j.want.Backends[w.engine()] {
		w.through++
	} else if !j.want.Backends[netip.AddrPortFrom(to.ip, 8080)] && !j.want.Backends[netip.AddrPortFrom(to.ip, 8081)] {
		return fmt.Errorf("%q answered, at %s", to.name, to.ip)
	}
	kept, replaced := r.Answer.Client == j.Source, slices.Contains(j.entry.face, r.Answer.Client)
	switch {
	case to.name == j.entry.name && j.Origin != lb.FromNode:
		if !kept { // what stays on the node needs no other source
			return fmt.Errorf("%q saw client %s, want %s", to.name, r.Answer.Client, j.Source)
		}
	case to.ip == j.Source, to.name == w.out.name, !j.want.KeepsSource: // itself, a stranger to pods' addresses, or by policy
		if !replaced {
			return fmt.Errorf("%q saw client %s, want the node", to.name, r.Answer.Client)
		}
	case !kept:
		return fmt.Errorf("%q saw client %s, want %s", to.name, r.Answer.Client, j.Source)
	}
	if err := w.traced(j, to.ip, replaced); err != nil {
		return err
	}
	if j.want.Sticky != "" {
		return w.stick(visit{j.entry.name, j.want.Sticky, j.want.Local, j.Source}, to.name)
	}
	return nil
}

// stick checks that a visitor is served by whom it was served before. Packets of
// one wave may meet the rules at the same time, and then each chooses.
func (w *walk) stick(v visit, by string) error {
	if w.served[v] == nil {
		w.served[v] = map[string]bool{}
	}
	w.served[v][by] = true
	before := w.stuck[v]
	if len(before) == 0 {
		return nil
	}
	w.returned++
	if !before[by] {
		return fmt.Errorf("%q answered, before it was one of %v", by, before)
	}
	w.stuck[v] = map[string]bool{by: true} // of several one is remembered
	return nil
}

// volley sends packets from one client.
func (w *walk) volley(from client, journeys []journey) []netlab.Result {
	shots := make([]netlab.Shot, len(journeys))
	for i, j := range journeys {
		shots[i] = netlab.Shot{UDP: j.Proto == lb.UDP, To: j.Dest, Silent: !j.want.Served || j.want.Verdict == lb.Drop}
		if from.origin == lb.FromOutside {
			shots[i].Source = j.Source
		}
	}
	return from.Volley(shots, quick, patient)
}

// round sends count packets from each client to random destinations, in two waves.
func (w *walk) round(clients []client, count int) (bad []string) {
	services, all := w.objects()
	destinations := lbtest.Destinations(services, lb.Node{Addrs: []netip.Addr{w.a.ip, w.b.ip}})
	w.served = map[visit]map[string]bool{}
	for range 2 {
		w.stuck, w.served = w.served, map[visit]map[string]bool{}
		journeys := make([][]journey, len(clients))
		for i, from := range clients {
			for range count / 2 {
				source := from.ip
				if from.origin == lb.FromOutside && w.rnd.IntN(2) == 0 {
					source = w.f.elsewhere
				}
				p := destinations[w.rnd.IntN(len(destinations))]
				journeys[i] = append(journeys[i], w.plan(from, source, p, services, all))
			}
		}
		bad = append(bad, w.wave(clients, journeys)...)
	}
	return bad
}

// wave sends packets from all clients at once, and says what is not as planned.
func (w *walk) wave(clients []client, journeys [][]journey) (bad []string) {
	results := make([][]netlab.Result, len(clients))
	var group sync.WaitGroup
	for i, from := range clients {
		group.Go(func() { results[i] = w.volley(from, journeys[i]) })
	}
	group.Wait()
	for i, from := range clients {
		for k, j := range journeys[i] {
			if j.want.Served {
				w.verdicts[j.want.Verdict]++
			}
			if err := w.check(j, results[i][k]); err != nil {
				bad = append(bad, fmt.Sprintf("%s to %s %s: %v; expected %+v", from.name, j.Proto, j.Dest, err, j.want))
			}
		}
	}
	return bad
}

// TestRandomPackets walks through random Services and endpoints, sends random
// packets, and holds what becomes of each against lb.Expect, and against what the
// plan of the node does with it without a kernel.
func TestRandomPackets(t *testing.T) {
	each(t, func(l *lab) {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		w := newWalk(l, seed, 40)
		clients := []client{
			{l.a1, lb.FromPod, l.a}, {l.a2, lb.FromPod, l.a}, {l.b1, lb.FromPod, l.b},
			{l.a.machine, lb.FromNode, l.a}, {l.b.machine, lb.FromNode, l.b}, {l.out, lb.FromOutside, nil},
		}
		sent := 0
		for round := range 10 {
			w.step()
			bad := w.round(clients, 80)
			for _, line := range bad[:min(len(bad), 5)] {
				l.t.Errorf("round %d: %s", round, line)
			}
			if sent += 80 * len(clients); len(bad) > 0 {
				l.t.Fatalf("-seed %d: %d of %d packets went astray\n%s", seed, len(bad), 80*len(clients), lb.Table(l.a.proxy.Rows()...))
			}
		}
		l.t.Logf("%d packets, by verdict %v, %d of them by returning visitors, %d through an engine", sent, w.verdicts, w.returned, w.through)
		if w.verdicts[lb.Forward] < sent/10 || w.verdicts[lb.Refuse] < sent/10 || w.verdicts[lb.Drop] < sent/50 || w.returned < 20 || w.through < 50 {
			l.t.Errorf("-seed %d: the walk saw too little: %v, %d through an engine", seed, w.verdicts, w.through)
		}
	})
}
