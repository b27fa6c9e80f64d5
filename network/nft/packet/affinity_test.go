package packet

import (
	"encoding/json"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/netlab"
)

// sticks connects n times by each shot, expects one and the same server each
// time, and returns its name.
func (l *lab) sticks(from machine, n int, shots ...netlab.Shot) string {
	l.t.Helper()
	name := ""
	for range n {
		for i, r := range from.Volley(shots, 0, patient) {
			if r.Err != nil {
				l.t.Fatalf("%s to %v: %v", from.name, shots[i], r.Err)
			}
			if name != "" && r.Answer.Name != name {
				l.t.Fatalf("%s to %v went to %q, then to %q", from.name, shots[i], name, r.Answer.Name)
			}
			name = r.Answer.Name
		}
	}
	return name
}

// remembered is what a node knows about one client: for each sticky port it has
// been to, when the kernel will forget, in seconds.
func (l *lab) remembered(on *node, client netip.Addr) (expire []float64) {
	l.t.Helper()
	family := "ip"
	if client.Is6() {
		family = "ip6"
	}
	var listing struct {
		Nftables []struct {
			Map *struct {
				Elem [][2]json.RawMessage
			}
		}
	}
	text := l.command(on.machine, "nft", "-j", "list", "map", family, "fairlead", "affinity")
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	for _, item := range listing.Nftables {
		if item.Map == nil {
			continue
		}
		for _, pair := range item.Map.Elem {
			var element struct {
				Elem struct {
					Val     struct{ Concat []any }
					Expires float64
				}
			}
			if err := json.Unmarshal(pair[0], &element); err != nil || len(element.Elem.Val.Concat) != 2 {
				l.t.Fatalf("%v: %s", err, pair[0])
			}
			if element.Elem.Val.Concat[1] == client.String() {
				expire = append(expire, element.Elem.Expires)
			}
		}
	}
	return expire
}

func TestP70_OneMemoryForAllAddressesOfAPort(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(external(balanced(l.service("web"), l.ext(1), clusterPolicy), l.ext(2), clusterPolicy), 600)
		l.put(s, l.slice(s, ready(l.a1, l.a2, l.b1, l.b2)...))
		var tcp, udp []netlab.Shot
		for _, to := range []netip.AddrPort{vip(s), port30080(l.a), l.ext(1), l.ext(2)} {
			tcp, udp = append(tcp, netlab.Shot{To: to}), append(udp, netlab.Shot{UDP: true, To: to})
		}
		l.sticks(l.out, 8, tcp...)
		l.sticks(l.out, 8, udp...)
		if n := len(l.remembered(l.a, l.out.ip)); n != 2 {
			l.t.Errorf("%d entries for a client of a TCP and a UDP port", n)
		}
	})
}

// What a client sticks to under one policy it gets under the other, too, if that
// admits it; if not, each policy remembers for itself.
func TestP70_PoliciesShareWhatBothAdmit(t *testing.T) {
	each(t, func(l *lab) {
		here := map[string]bool{"a1": true, "a2": true}
		shared, apart := 0, 0
		for n := range 8 { // so many that no memory at all would not pass by chance
			s := sticky(external(l.service("web"), l.ext(1+n), localPolicy), 600)
			l.put(s, l.slice(s, ready(l.a1, l.a2, l.b1)...))
			inside, outside := netlab.Shot{To: vip(s)}, netlab.Shot{To: l.ext(1 + n)}
			if n%2 == 0 {
				inside, outside = outside, inside
			}
			first := l.sticks(l.out, 3, inside)
			second := l.sticks(l.out, 3, outside)
			if here[first] {
				shared++
				if second != first {
					l.t.Errorf("to %v stuck to %q, to %v to %q", inside.To, first, outside.To, second)
				}
			} else {
				apart++
			}
			if again := l.sticks(l.out, 3, inside); again != first {
				l.t.Errorf("to %v stuck to %q, then to %q", inside.To, first, again)
			}
		}
		if shared < 4 {
			l.t.Errorf("%d of %d were shared", shared, shared+apart)
		}
	})
}

// The endpoint that both policies share goes: one chooses anew, the other follows.
func TestP70_P72_PoliciesForgetTogether(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(external(l.service("web"), l.ext(1), localPolicy), 600)
		l.put(s, l.slice(s, ready(l.a1, l.a2)...))
		shots := []netlab.Shot{{To: vip(s)}, {To: l.ext(1)}}
		first := l.sticks(l.out, 1, shots[0])
		for range 6 {
			left := map[string]machine{"a1": l.a2, "a2": l.a1}[first]
			l.put(l.slice(s, ready(left)...))
			if first = l.sticks(l.out, 5, shots...); first != left.name {
				l.t.Fatalf("%q answered, which is gone", first)
			}
			l.put(l.slice(s, ready(l.a1, l.a2)...))
			if again := l.sticks(l.out, 5, shots...); again != first {
				l.t.Fatalf("moved from %q to %q", first, again)
			}
		}
	})
}

// With policy Cluster the client's address is replaced, but only after the
// choice: two clients behind one router stay two.
func TestP70_P75_TheKeyIsTheClientsOwnAddress(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(nodePort(l.service("web"), clusterPolicy), 600)
		l.put(s, l.slice(s, ready(l.b1, l.b2)...))
		for n := range 20 { // half of all pairs of clients choose alike
			one := l.sticks(l.out, 5, netlab.Shot{To: port30080(l.a)})
			two := l.sticks(l.out, 5, netlab.Shot{To: port30080(l.a), Source: l.f.elsewhere})
			for _, client := range []netip.Addr{l.f.outside, l.f.elsewhere} {
				if len(l.remembered(l.a, client)) == 0 {
					l.t.Errorf("client %s is not remembered", client)
				}
			}
			if one != two {
				return
			}
			if n == 19 {
				l.t.Error("two clients always choose alike")
			}
			l.put(l.slice(s, ready(l.a1)...))
			l.put(l.slice(s, ready(l.b1, l.b2)...)) // forgets both
		}
	})
}

func TestP71_EachConnectionExtendsTheMemory(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(l.service("web"), 600)
		l.put(s, l.slice(s, ready(l.b1, l.b2)...))
		l.sticks(l.a1, 1, netlab.Shot{To: vip(s)})
		var older float64
		l.until("the memory to fade", func() bool {
			e := l.remembered(l.a, l.a1.ip)
			if len(e) != 1 {
				l.t.Fatalf("remembered: %v", e)
			}
			older = e[0]
			return older < 599
		})
		l.sticks(l.a1, 1, netlab.Shot{To: vip(s)})
		if e := l.remembered(l.a, l.a1.ip); len(e) != 1 || e[0] <= older || e[0] > 600 {
			l.t.Errorf("expires in %v s after another connection, in %v s before it", e, older)
		}
	})
}

func TestP71_AfterTheTimeoutTheChoiceIsFree(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(l.service("web"), 1)
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		first := l.sticks(l.a1, 5, netlab.Shot{To: vip(s)})
		l.until("another endpoint after the timeout", func() bool { // two chances in three each time
			l.until("the memory to end", func() bool { return len(l.remembered(l.a, l.a1.ip)) == 0 })
			return l.sticks(l.a1, 1, netlab.Shot{To: vip(s)}) != first
		})
	})
}

func TestP72_NotToAnEndpointThatIsGone(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(l.service("web"), 600)
		all := map[string]machine{"a2": l.a2, "b1": l.b1, "b2": l.b2}
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		first := l.sticks(l.a1, 5, netlab.Shot{To: vip(s)})
		var left []machine
		for name, m := range all {
			if name != first {
				left = append(left, m)
			}
		}
		l.put(l.slice(s, append(ready(left...), all[first].draining())...)) // ineligible, not even gone
		second := l.sticks(l.a1, 10, netlab.Shot{To: vip(s)})
		if second == first {
			l.t.Fatalf("still on %q", first)
		}
		l.put(l.slice(s, ready(l.a2, l.b1, l.b2)...)) // it returns; the client stays where it is now
		if third := l.sticks(l.a1, 10, netlab.Shot{To: vip(s)}); third != second {
			l.t.Errorf("went back from %q to %q", second, third)
		}
	})
}

func TestP73_NodesRememberForThemselves(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(nodePort(l.service("web"), clusterPolicy), 600)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.sticks(l.out, 3, netlab.Shot{To: port30080(l.a)})
		if here, there := l.remembered(l.a, l.out.ip), l.remembered(l.b, l.out.ip); len(here) != 1 || len(there) != 0 {
			l.t.Errorf("the client is known to a: %v, to b: %v", here, there)
		}
	})
}

func TestP74_OnAndOffWithoutANewService(t *testing.T) {
	each(t, func(l *lab) {
		plain := l.service("web")
		l.put(plain, l.slice(plain, ready(l.a2, l.b1)...))
		l.reaches(l.a1, vip(plain), l.a1.self(), l.a2, l.b1)
		on := plain.DeepCopy()
		on.Spec.SessionAffinity = corev1.ServiceAffinityClientIP // the default timeout is three hours
		l.put(on)
		l.sticks(l.a1, 20, netlab.Shot{To: vip(plain)})
		if e := l.remembered(l.a, l.a1.ip); len(e) != 1 || e[0] < 10700 || e[0] > 10800 {
			l.t.Errorf("expires in %v s", e)
		}
		l.put(plain)
		l.reaches(l.a1, vip(plain), l.a1.self(), l.a2, l.b1)
	})
}
