package plan

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
)

// model is a kernel as far as a state can tell: elements, and the complaints the
// real one would have.
type model map[Key]*entry

func (m model) apply(d Difference) error {
	for _, e := range d.removed {
		if _, ok := m[e.Key]; !ok {
			return fmt.Errorf("remove %v, which is not there", e.Key)
		}
		delete(m, e.Key)
	}
	for _, e := range d.added {
		if _, ok := m[e.Key]; ok {
			return fmt.Errorf("add %v, which is there", e.Key)
		}
		m[e.Key] = e
	}
	return nil
}

// check compares the model with all the state wants, and looks at what must hold
// for every packet.
func (m model) check(b *Desired) error {
	want := model{}
	b.all(func(e *entry) { want[e.Key] = e })
	for k, v := range want {
		if got, ok := m[k]; !ok || !got.equal(v) {
			return fmt.Errorf("%v is %v, should be %v", k, got, v)
		}
	}
	for k := range m {
		if _, ok := want[k]; !ok && b.delayed[k] == nil {
			return fmt.Errorf("%v is there and should not be", k)
		}
	}
	sizes := b.Size()
	counts := [MapCount]int{}
	for k, e := range m {
		counts[k.in]++
		counts[MapAllowed] += len(e.sources())
	}
	for _, in := range []Map{MapAllowed, MapServices, MapShortcuts, MapRestricted} { // it counts those of losing claims, too
		if counts[in] > sizes[in] {
			return fmt.Errorf("the state counts %d %s, there are %d", sizes[in], in, counts[in])
		}
		sizes[in] = counts[in]
	}
	if counts != sizes {
		return fmt.Errorf("the state counts %v, there are %v", sizes, counts)
	}
	if err := m.disjoint(); err != nil {
		return err
	}
	return m.complete(b)
}

// disjoint checks that no two source ranges of a frontend overlap: the kernel
// would refuse the whole transaction.
func (m model) disjoint() error {
	for k, e := range m {
		for i, p := range e.sources() {
			for _, o := range e.sources()[:i] {
				if o.Overlaps(p) {
					return fmt.Errorf("%v: %v and %v overlap", k, o, p)
				}
			}
		}
	}
	return nil
}

// complete checks that every packed verdict leads to a full row of slots.
func (m model) complete(b *Desired) error {
	byIndex := map[uint32]class{}
	for c, n := range b.classes.known {
		byIndex[n.index] = c
	}
	for k, v := range m {
		if k.in != MapServices && k.in != MapShortcuts {
			continue
		}
		packed := v.value.number
		c, ok := byIndex[packed>>setBits]
		if !ok {
			return fmt.Errorf("%v has the unknown class %#x", k, packed>>setBits)
		}
		for slot := range c.size {
			in := MapEndpoints
			if c.affinity > 0 {
				in = MapStickySlots
			}
			id, ok := m[slotOf(in, packed&setMask, slot)]
			if !ok {
				return fmt.Errorf("%v: slot %d of %d is empty", k, slot, c.size)
			}
			if in == MapStickySlots {
				n := id.value.number
				if n <= setMask {
					return fmt.Errorf("%v: endpoint %d could be a set", k, n)
				}
				_, alive := m[numberKey(MapSticky, n)]
				if _, target := m[numberKey(MapStickyTargets, n)]; !alive || !target {
					return fmt.Errorf("%v: endpoint %d leads nowhere", k, n)
				}
			}
		}
	}
	return m.twinned(b)
}

// twinned checks that the sets and endpoints of a port have their twins, to and
// fro, and that nothing else has.
func (m model) twinned(b *Desired) error {
	want := map[uint32]uint32{}
	both := func(x, y uint32) { want[x], want[y] = y, x }
	for _, s := range b.services {
		for _, x := range s.sets {
			for _, y := range s.sets {
				if x.Port != y.Port || x.scope == y.scope || m[slotOf(MapStickySlots, x.id, 0)] == nil {
					continue
				}
				for _, p := range x.slots {
					for _, q := range y.slots {
						if p.addr == q.addr {
							both(x.id, y.id)
							both(p.id, q.id)
						}
					}
				}
			}
		}
	}
	n := 0
	for k, e := range m {
		if k.in != MapStickyTwins {
			continue
		}
		n++
		if of := binary.BigEndian.Uint32(k.addr[:]); want[of] == 0 || want[of] != e.value.number {
			return fmt.Errorf("the twin of %d is %d, should be %d", of, e.value.number, want[of])
		}
	}
	if n != len(want) {
		return fmt.Errorf("%d twins, should be %d", n, len(want))
	}
	return nil
}

// However Services and endpoints change, and in whatever batches, the
// differences bring the kernel to what the state wants.
func TestDesiredDifferencesConverge(t *testing.T) {
	u := lbtest.Universe{Services: netip.MustParsePrefix("10.96.0.0/16"), Nodes: []string{"n1", "n2"}, Zones: []string{"a", "b"}, Here: []netip.Addr{podA, podB},
		Away: []netip.Addr{podFar, podFar2}, Ports: []int32{8080, 8081},
		// One external address for all: it will be claimed several times.
		External: []netip.Addr{outsideIP, outsideIP, outsideIP, outsideIP, outsideIP}}
	node := lb.Node{Name: "n1", Zone: "a", Addrs: []netip.Addr{nodeIP}}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	b, kernel := NewDesired(), model{}
	b.LocalPods = prefix("10.244.1.0/24")
	for step := range 5000 {
		n := rnd.IntN(8)
		rows := lb.Rows{Service: types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", n)}}
		if rnd.IntN(5) > 0 {
			s := u.Service(rnd, n)
			s.CreationTimestamp.Time = time.Unix(int64(rnd.IntN(3)), 0)
			if rnd.IntN(3) == 0 {
				s.Spec.Type = corev1.ServiceTypeLoadBalancer
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: outsideIP.String()}}
				s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "10.0.0.0/9", "12.0.0.0/8"}[rnd.IntN(3):]
			}
			rows = lb.Derive(s, u.Slices(rnd, n), node)
		}
		if _, _, err := b.Update(rows); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(10) == 0 {
			b.SetNodes(map[netip.Addr]struct{}{nodeIP: {}, netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.IntN(4))}): {}})
		}
		if rnd.IntN(3) > 0 {
			continue // more changes go into the same transaction
		}
		if err := kernel.apply(b.Take()); err != nil {
			t.Fatalf("seed %d step %d: %v", seed, step, err)
		}
		b.Committed()
		if err := kernel.check(b); err != nil {
			t.Fatalf("seed %d step %d: %v", seed, step, err)
		}
	}
	for name := range b.services {
		if _, _, err := b.Update(lb.Rows{Service: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kernel.apply(b.Take()); err != nil {
		t.Fatal(err)
	}
	b.Committed()
	if n := len(kernel) - len(b.nodeAddrs) - len(b.delayed); n != 0 {
		t.Errorf("seed %d: %d elements outlive their Services", seed, n)
	}
	if free := len(b.setIDs.free); free != int(b.setIDs.last) {
		t.Errorf("seed %d: %d of %d set ids came back", seed, free, b.setIDs.last)
	}
	for c, n := range b.classes.known {
		if n.users != 0 && c.verdict == lb.Forward {
			t.Errorf("seed %d: class %+v still has %d users", seed, c, n.users)
		}
	}
}

// One endpoint more or less is a handful of elements, however many there are.
func TestDesiredChangeIsSmall(t *testing.T) {
	endpoint := func(n int) lb.Backend {
		return lb.Backend{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(n / 250), byte(n % 250)}), 8080)}
	}
	rows := func(skip, n int) lb.Rows {
		s := lb.Set{Port: "http", Proto: lb.TCP}
		for i := range n {
			if i != skip {
				s.Backends = append(s.Backends, endpoint(i))
			}
		}
		f := lb.Frontend{Addr: at("10.96.0.1:80"), Proto: lb.TCP, Port: "http"}
		return lb.Rows{Service: types.NamespacedName{Namespace: "default", Name: "web"}, Frontends: []lb.Frontend{f}, Sets: []lb.Set{s}}
	}
	b := NewDesired()
	for _, step := range []struct {
		name        string
		rows        lb.Rows
		most, least int
	}{
		{"load", rows(-1, 1000), 1002, 1002},
		{"nothing", rows(-1, 1000), 0, 0},
		{"one goes", rows(17, 1000), 5, 3},
		{"and returns", rows(-1, 1000), 3, 3},
		{"one more", rows(-1, 1001), 3, 3},
	} {
		if _, _, err := b.Update(step.rows); err != nil {
			t.Fatal(err)
		}
		d := b.Take()
		b.Committed()
		if n := len(d.removed) + len(d.added); n > step.most || n < step.least {
			t.Errorf("%s: %d operations, want %d to %d", step.name, n, step.least, step.most)
		}
	}
}

func TestReslotKeepsSurvivors(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var slots []slot
	next := uint32(0)
	for range 2000 {
		var want []lb.Backend
		for i := range 12 {
			if rnd.IntN(2) == 0 {
				want = append(want, lb.Backend{Addr: netip.AddrPortFrom(podA, uint16(1+i))})
			}
		}
		had := map[netip.AddrPort]uint32{}
		for _, s := range slots {
			had[s.addr] = s.id
		}
		before := slots
		slots = reslot(slots, want)
		if len(slots) != len(want) {
			t.Fatalf("seed %d: %d slots for %d backends", seed, len(slots), len(want))
		}
		moved := 0
		for i := range slots {
			if id, survived := had[slots[i].addr]; survived && slots[i].id != id {
				t.Fatalf("seed %d: %v lost its id", seed, slots[i].addr)
			} else if !survived {
				next++
				slots[i].id = next
			} else if i >= len(before) || before[i].addr != slots[i].addr {
				moved++
			}
		}
		if gone := len(before) - (len(slots) - countNew(slots, had)); moved > gone {
			t.Fatalf("seed %d: %d survivors moved for %d that went", seed, moved, gone)
		}
	}
}

func countNew(slots []slot, had map[netip.AddrPort]uint32) int {
	n := 0
	for _, s := range slots {
		if _, ok := had[s.addr]; !ok {
			n++
		}
	}
	return n
}
