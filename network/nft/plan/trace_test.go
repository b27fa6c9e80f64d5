package plan

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the random Services of a failure; 0 draws new ones")

// traced is a random World and a node whose table is traced instead of written.
type traced struct {
	invention
	services [16]*corev1.Service // nil where there is none
	slices   [16][]*discoveryv1.EndpointSlice
	tracer   *Tracer
	fresh    *Tracer                  // one that remembers nothing
	last     map[visit]netip.AddrPort // who served a client last
	seen     map[string]int
}

// visit is what a node remembers a client by.
type visit struct {
	port   string
	local  bool
	source netip.Addr
}

func newTraced(seed uint64, v6 bool) *traced {
	w := &traced{invention: *invent(seed, v6), last: map[visit]netip.AddrPort{}, seen: map[string]int{}}
	w.layout.Outbound = w.rnd.IntN(2) == 0
	w.layout.Masquerade = w.rnd.IntN(4) == 0
	w.universe.Here = append(w.universe.Here, w.node.Addrs...) // with the node itself
	w.universe.Sources = append(w.universe.Sources, netip.PrefixFrom(w.universe.Abroad[0], w.universe.Abroad[0].BitLen()), netip.PrefixFrom(w.node.Addrs[0], w.node.Addrs[0].BitLen()-4).Masked())
	w.desired.SetNodes(map[netip.Addr]struct{}{w.node.Addrs[0]: {}})
	return w
}

// change replaces or deletes some Services, and writes the table anew.
func (w *traced) change(t *testing.T) {
	for n := range w.services {
		if w.services[n] != nil && w.rnd.IntN(4) > 0 {
			continue
		}
		w.services[n], w.slices[n] = nil, nil
		rows := lb.Rows{Service: types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", n)}}
		if w.rnd.IntN(6) > 0 {
			s := w.universe.Service(w.rnd, n)
			s.CreationTimestamp.Time = time.Unix(int64(w.rnd.IntN(3)), 0)
			if how := w.rnd.IntN(6); how < 2 {
				s.Annotations = map[string]string{api.AnnotationBalance: []string{api.BalanceByClient, api.BalanceInTurn}[how], api.AnnotationL7: s.Annotations[api.AnnotationL7]}
			}
			w.services[n], w.slices[n] = s, w.universe.Slices(w.rnd, n)
			rows = lb.Derive(s, w.slices[n], w.node)
		}
		if _, _, err := w.desired.Update(rows); err != nil {
			t.Fatal(err)
		}
	}
	w.desired.Take()
	w.desired.Committed()
	local := append(slices.Clone(w.node.Addrs), w.node.Engine.Addr())
	w.tracer = NewTracer(NewTable(w.layout, w.desired), local, w.tracer)
	w.tracer.Choose = w.rnd.IntN
	w.fresh = NewTracer(w.tracer.table, local, nil)
}

func (w *traced) objects() (services []*corev1.Service, all []*discoveryv1.EndpointSlice) {
	services = slices.DeleteFunc(slices.Clone(w.services[:]), func(s *corev1.Service) bool { return s == nil })
	return services, slices.Concat(w.slices[:]...)
}

// check sends a packet, in all ways at once and then one way, and says how that
// differs from the specification.
func (w *traced) check(p Packet, services []*corev1.Service, all []*discoveryv1.EndpointSlice) error {
	want := lb.Expect(p.Packet, services, all, w.node)
	if !want.Served && w.layout.ServiceCIDR.Contains(p.Dest.Addr()) { // rule P49
		want = lb.Outcome{Served: true, Verdict: lb.Drop}
	}
	w.seen[fmt.Sprint(want.Served, want.Verdict)]++
	reached := map[netip.AddrPort]bool{}
	ways := w.fresh.All(p)
	for _, got := range ways {
		if err := w.differs(p, got, want); err != nil {
			return fmt.Errorf("%w\n%s", err, got)
		}
		reached[got.Dest] = true
	}
	noDraw := slices.ContainsFunc(ways[0].Steps, func(s Step) bool {
		return strings.Contains(s.Chain, "-by-client")
	})
	if want.Served && want.Verdict == lb.Forward && len(reached) != len(want.Backends) && !noDraw {
		return fmt.Errorf("reaches %v only", reached)
	}
	if err := w.divides(ways, want); err != nil && !noDraw {
		return err
	}
	got := w.tracer.Trace(p)
	if err := w.differs(p, got, want); err != nil {
		return fmt.Errorf("%w\n%s", err, got)
	}
	return w.sticks(p, got, want)
}

// divides holds the ways that a packet may take, all as likely, against what each backend is to get.
func (w *traced) divides(ways []Trace, want lb.Outcome) error {
	if len(want.Shares) < 2 {
		return nil
	}
	w.seen["weighted"]++
	for at, part := range want.Shares {
		n := 0
		for _, way := range ways {
			if way.Dest == at {
				n++
			}
		}
		if got := float64(n) / float64(len(ways)); math.Abs(got-part) > 0.03*part+0.002 {
			return fmt.Errorf("%s gets %.3f, want %.3f of %v", at, got, part, want.Shares)
		}
	}
	return nil
}

// differs holds one outcome against the specification.
func (w *traced) differs(p Packet, got Trace, want lb.Outcome) error {
	switch {
	case got.Served != want.Served || got.Verdict != want.Verdict:
		return fmt.Errorf("%+v", got)
	case got.Verdict != lb.Forward:
		return nil
	case got.Mark != 0 || got.CtMark != 0: // rule P60
		return fmt.Errorf("marks %#x and %#x are left", got.Mark, got.CtMark)
	case !want.Served && got.Dest != p.Dest:
		return fmt.Errorf("it goes to %s", got.Dest)
	case want.Served && !want.Backends[got.Dest]:
		return fmt.Errorf("it goes to %s, want one of %v", got.Dest, want.Backends)
	}
	to := got.Dest.Addr()
	masquerade := want.Served && (!want.KeepsSource || to == p.Source && w.layout.LocalPods.Contains(to) || w.layout.Masquerade && p.Origin == lb.FromPod)
	here := to == w.node.Addrs[0] || to == w.node.Engine.Addr()
	if w.layout.Outbound && w.layout.ClusterCIDR.Contains(p.Source) && !w.layout.ClusterCIDR.Contains(to) && !here {
		masquerade = true
	}
	if p.Origin != lb.FromNode && here { // it arrives, and its source stays
		masquerade = false
	}
	if got.Masquerade != masquerade {
		return fmt.Errorf("masquerade is %v, want %v", got.Masquerade, masquerade)
	}
	return nil
}

// sticks checks that a client returns to whom it had, as long as that is eligible, also by another policy.
func (w *traced) sticks(p Packet, got Trace, want lb.Outcome) error {
	if want.Sticky == "" || want.Verdict != lb.Forward {
		return nil
	}
	v := visit{want.Sticky, want.Local, p.Source}
	had, known := w.last[v]
	if other := (visit{v.port, !v.local, v.source}); !known && want.Backends[w.last[other]] { // rule P70
		had, known = w.last[other], true
		w.seen["returned by another policy"]++
	}
	if known && want.Backends[had] {
		w.seen["returned"]++
		if got.Dest != had {
			return fmt.Errorf("it goes to %s, before it went to %s", got.Dest, had)
		}
	}
	w.last[v] = got.Dest
	return nil
}

// forget drops what nobody remembers any more: an endpoint that is not eligible for a moment is a
// new one afterwards (P72), and so is every one of a Service that was away or had no affinity.
func (w *traced) forget() {
	for v, at := range w.last {
		keep := false
		for _, s := range w.desired.services {
			for _, set := range s.sets {
				if v.port == fmt.Sprintf("%s:%s", s.name, set.Port) && v.local == (set.scope == lb.Local) {
					keep = keep || slices.ContainsFunc(set.slots, func(p slot) bool { return p.addr == at && p.id != 0 })
				}
			}
		}
		if !keep {
			delete(w.last, v)
		}
	}
}

// TestTraceAgreesWithExpect draws Services and packets at random, and holds what the plan's rules do
// to each packet, in every way they may choose, against the specification.
func TestTraceAgreesWithExpect(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(NewFamily(v6).String(), func(t *testing.T) {
			packets, seen := 0, map[string]int{}
			for range 25 {
				seed := *seedFlag
				if seed == 0 {
					seed = rand.Uint64()
				}
				w := newTraced(seed, v6)
				for step := range 6 {
					w.change(t)
					w.forget()
					services, all := w.objects()
					for _, to := range lbtest.Destinations(services, w.node) {
						for origin, source := range map[lb.Origin]netip.Addr{lb.FromPod: w.universe.Here[0], lb.FromNode: w.node.Addrs[0], lb.FromOutside: w.universe.Abroad[0]} {
							p := Packet{Packet: to, SourcePort: uint16(1024 + w.rnd.IntN(60000))}
							p.Origin, p.Source = origin, source
							if err := w.check(p, services, all); err != nil {
								t.Fatalf("-seed %d, step %d: %+v: %v\nexpected %+v", seed, step, p, err, lb.Expect(p.Packet, services, all, w.node))
							}
							packets++
						}
					}
				}
				for what, n := range w.seen {
					seen[what] += n
				}
			}
			t.Logf("%d packets, %v", packets, seen)
			for _, what := range []string{"true forward", "true refuse", "true drop", "false forward", "returned", "returned by another policy", "weighted"} {
				if seen[what] < 50 && *seedFlag == 0 {
					t.Errorf("%d packets are %s: the generator does not reach it", seen[what], what)
				}
			}
		})
	}
}
