package lb_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
)

// quarrel is Services of few ages that claim few addresses in every way there is.
type quarrel struct {
	universe lbtest.Universe
	rnd      *rand.Rand
	node     lb.Node
	services map[types.NamespacedName]*corev1.Service
	slices   map[types.NamespacedName][]*discoveryv1.EndpointSlice
	claims   *lb.Claims
}

func newQuarrel(u lbtest.Universe, seed uint64) *quarrel {
	u.External = slices.Concat(u.Here[2:3], []netip.Addr{u.Here[2].Next(), u.Here[2].Next()})
	return &quarrel{universe: u, rnd: rand.New(rand.NewPCG(seed, 0)), claims: lb.NewClaims(0),
		node:     lb.Node{Name: "n1", Addrs: u.Here[2:3], IPv6: u.Services.Addr().Is6()},
		services: map[types.NamespacedName]*corev1.Service{}, slices: map[types.NamespacedName][]*discoveryv1.EndpointSlice{}}
}

// change makes, replaces or deletes one Service and returns its rows. Names are such that they
// sort differently as a whole than by namespace.
func (q *quarrel) change() lb.Rows {
	n := q.rnd.IntN(9)
	name := types.NamespacedName{Namespace: []string{"a", "a-b", "b"}[n/3], Name: []string{"x", "x-y", "y"}[n%3]}
	if q.rnd.IntN(4) == 0 {
		delete(q.services, name)
		delete(q.slices, name)
		return lb.Rows{Service: name}
	}
	s := q.universe.Service(q.rnd, n)
	s.Namespace, s.Name = name.Namespace, name.Name
	s.CreationTimestamp.Time = time.Unix(int64(q.rnd.IntN(3)), 0)
	for i := range s.Spec.Ports { // node ports of others, and external ports with their numbers
		if s.Spec.Ports[i].NodePort != 0 && q.rnd.IntN(2) == 0 {
			s.Spec.Ports[i].NodePort = 30000 + int32(q.rnd.IntN(4))
		}
		if q.rnd.IntN(3) == 0 {
			s.Spec.Ports[i].Port = 30000 + int32(q.rnd.IntN(4))
		}
	}
	sl := q.universe.Slices(q.rnd, n)
	for _, part := range sl {
		part.Namespace, part.Labels[discoveryv1.LabelServiceName] = s.Namespace, s.Name
	}
	q.services[name], q.slices[name] = s, sl
	return lb.Derive(s, sl, q.node)
}

// all returns the rows of all Services, in no order.
func (q *quarrel) all() (rows []lb.Rows, services []*corev1.Service, all []*discoveryv1.EndpointSlice) {
	for name, s := range q.services {
		rows = append(rows, lb.Derive(s, q.slices[name], q.node))
		services, all = append(services, s), append(all, q.slices[name]...)
	}
	return rows, services, all
}

// TestP43_ClaimsAgreeWithExpect changes Services one by one and asks after each change who has every
// address: the table that follows the changes, the decision from all rows at once, and the specification.
func TestP43_ClaimsAgreeWithExpect(t *testing.T) {
	for name, u := range universes() {
		u.Nodes, u.Zones, u.Ports = []string{"n1", "n2", "n3"}, []string{"a", "b"}, []int32{8080, 8081}
		t.Run(name, func(t *testing.T) {
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64()
			}
			q := newQuarrel(u, seed)
			had, moves, contested := map[lb.Address]types.NamespacedName{}, 0, 0
			for step := range 3000 {
				changed := q.change()
				moved := q.claims.Put(&changed)
				rows, services, all := q.all()
				lb.Settle(rows)
				has := owners(rows)
				if err := q.agrees(has, rows); err != nil {
					t.Fatalf("-seed %d, step %d: %v", seed, step, err)
				}
				if err := transferred(had, has, changed.Service, moved); err != nil {
					t.Fatalf("-seed %d, step %d: %v", seed, step, err)
				}
				had, moves = has, moves+len(moved)
				if q.claims.Contested() {
					contested++
				}
				for _, p := range lbtest.Destinations(services, q.node) {
					p.Origin, p.Source = lb.FromOutside, u.Abroad[0]
					if want, got := lb.Expect(p, services, all, q.node), follow(rows, p); !equal(got, want) {
						t.Fatalf("-seed %d, step %d: %+v\nrows:   %+v\nexpect: %+v\n%s", seed, step, p, got, want, lb.Table(rows...))
					}
				}
			}
			if moves < 500 || contested < 500 {
				t.Errorf("%d addresses changed hands, %d steps saw a contested one: the generator does not reach it", moves, contested)
			}
		})
	}
}

// owners is who has what by the marks in all rows.
func owners(rows []lb.Rows) map[lb.Address]types.NamespacedName {
	all := map[lb.Address]types.NamespacedName{}
	for i := range rows {
		for k := range rows[i].Frontends {
			if f := &rows[i].Frontends[k]; f.TakenBy == (types.NamespacedName{}) {
				all[f.Address()] = rows[i].Service
			}
		}
	}
	return all
}

// agrees holds the table against the marks.
func (q *quarrel) agrees(has map[lb.Address]types.NamespacedName, rows []lb.Rows) error {
	if q.claims.Len() != len(has) {
		return fmt.Errorf("%d addresses, want %d", q.claims.Len(), len(has))
	}
	claims := map[lb.Address]int{}
	for i := range rows {
		for k := range rows[i].Frontends {
			f := &rows[i].Frontends[k]
			claims[f.Address()]++
			if f.TakenBy != (types.NamespacedName{}) && f.TakenBy != has[f.Address()] {
				return fmt.Errorf("%v is taken by %v and owned by %v", f.Address(), f.TakenBy, has[f.Address()])
			}
		}
	}
	for a, want := range has {
		if got, ok := q.claims.Owner(a); !ok || got != want {
			return fmt.Errorf("%v is %v's, want %v", a, got, want)
		}
	}
	if got, want := q.claims.Contested(), len(claims) > 0 && slices.Max(counts(claims)) > 1; got != want {
		return fmt.Errorf("contested is %v, want %v", got, want)
	}
	return nil
}

func counts(m map[lb.Address]int) (all []int) {
	for _, n := range m {
		all = append(all, n)
	}
	return all
}

// transferred holds the transfers of a step against who had what before and after.
func transferred(had, has map[lb.Address]types.NamespacedName, changed types.NamespacedName, moved []lb.Transfer) error {
	said := map[lb.Address]lb.Transfer{}
	for _, m := range moved {
		if _, twice := said[m.Address]; twice || m.From == m.To || m.From != changed && m.To != changed {
			return fmt.Errorf("%+v by a change of %v", m, changed)
		}
		said[m.Address] = m
	}
	for a, from := range had {
		to, still := has[a]
		if m, ok := said[a]; ok != (still && from != to) || ok && (m.From != from || m.To != to) {
			return fmt.Errorf("%v goes from %v to %v, and is said to: %+v", a, from, to, m)
		}
		delete(said, a)
	}
	if len(said) > 0 {
		return fmt.Errorf("nobody had %+v", said)
	}
	return nil
}

// TestClaimsOfTheDeleted has everybody gone, and nothing left.
func TestClaimsOfTheDeleted(t *testing.T) {
	u := universes()["ipv4"]
	u.Nodes, u.Zones, u.Ports = []string{"n1", "n2"}, []string{"a"}, []int32{8080}
	q := newQuarrel(u, rand.Uint64())
	for range 300 {
		rows := q.change()
		q.claims.Put(&rows)
	}
	for name := range q.services {
		q.claims.Put(&lb.Rows{Service: name})
	}
	if q.claims.Len() != 0 || q.claims.Contested() {
		t.Errorf("%d addresses are left, contested: %v", q.claims.Len(), q.claims.Contested())
	}
}

// BenchmarkClaims puts one Service more among many of which none, and all, want the same address.
func BenchmarkClaims(b *testing.B) {
	rows := func(i int, same bool) *lb.Rows {
		r := &lb.Rows{Service: types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", i)}, Created: time.Unix(int64(i*7919%50000), 0)}
		own := netip.AddrFrom4([4]byte{10, byte(96 + i>>16), byte(i >> 8), byte(i)})
		r.Frontends = append(r.Frontends, lb.Frontend{Addr: netip.AddrPortFrom(own, 80), Proto: lb.TCP})
		if same {
			r.Frontends = append(r.Frontends, lb.Frontend{Addr: netip.MustParseAddrPort("203.0.113.1:80"), Proto: lb.TCP})
		}
		return r
	}
	for _, same := range []bool{false, true} {
		for _, n := range []int{100, 50000} {
			b.Run(fmt.Sprintf("%d/contested=%v", n, same), func(b *testing.B) {
				c := lb.NewClaims(n)
				for i := range n {
					c.Put(rows(i, same))
				}
				comes, goes := rows(n, same), &lb.Rows{Service: rows(n, same).Service}
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					c.Put(comes)
					c.Put(goes)
				}
			})
		}
	}
}
