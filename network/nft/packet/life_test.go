package packet

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/world"
)

func TestP5_NothingIsWrittenBeforeEverythingIsKnown(t *testing.T) {
	eachIdle(t, func(l *lab) {
		s, later := l.service("web"), l.service("later")
		l.world.Put(s)
		l.world.Put(l.slice(s, ready(l.b1)...))
		l.run(l.a)
		l.run(l.b)
		l.world.Put(later) // while the Proxies wait
		l.world.Put(l.slice(later, ready(l.b2)...))
		l.unanswered(vip(s), l.a1) // time enough to write, if they did not
		for _, n := range []*node{l.a, l.b} {
			if out := l.command(n.machine, "nft", "list", "ruleset"); out != "" {
				l.t.Errorf("written on %s before the World was complete:\n%s", n.name, out)
			}
		}
		l.world.MarkSynced()
		l.settle()
		l.reaches(l.a1, vip(s), l.a1.self(), l.b1)
		l.reaches(l.a1, vip(later), l.a1.self(), l.b2)
	})
}

// A new process leaves its predecessor's rules alone until it knows everything;
// then what vanished meanwhile goes, and nothing else notices.
func TestP5_RestartKeepsServingUntilEverythingIsKnown(t *testing.T) {
	each(t, func(l *lab) {
		s, gone := l.service("web"), l.service("gone")
		l.put(s, l.slice(s, ready(l.a2, l.b1)...), gone, l.slice(gone, ready(l.b2)...))
		load := l.load(l.a1, vip(s))
		l.a.stop()
		l.b.stop()
		complete := l.world
		l.world = world.New() // as a new process, which knows nothing yet
		l.run(l.a)
		l.run(l.b)
		l.reaches(l.a1, vip(gone), l.a1.self(), l.b2)
		for _, n := range complete.Nodes() {
			l.world.Put(n)
		}
		l.world.Put(s)
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2, l.b1) // its endpoints are not known, and not missed
		l.world.Put(l.slice(s, ready(l.a2, l.b1)...))
		l.world.MarkSynced()
		l.settle()
		l.silent(vip(gone), l.a1)
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2, l.b1)
		l.unharmed(load)
	})
}

// Others cannot flush or delete the rules of a living proxy, and the rules that
// one left behind come back with the next.
func TestP100_RulesThatOthersDelete(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.b1)...))
		load := l.load(l.a1, vip(s))
		l.command(l.a.machine, "nft", "flush", "ruleset") // all that is not somebody's own
		for _, harm := range []string{"delete table ip fairlead", "flush table ip fairlead", "flush map ip fairlead services"} {
			if l.f.cluster.Addr().Is6() {
				harm = strings.ReplaceAll(harm, " ip ", " ip6 ")
			}
			if out, err := l.a.Command("nft", strings.Fields(harm)...); err == nil {
				l.t.Errorf("nft %s was allowed: %s", harm, out)
			}
		}
		l.unharmed(load)
		l.a.stop()
		l.command(l.a.machine, "nft", "flush", "ruleset")
		l.unanswered(vip(s), l.a1)
		l.start(l.a)
		l.reaches(l.a1, vip(s), l.a1.self(), l.b1)
	})
}

func TestP101_RulesOutliveTheirProxy(t *testing.T) {
	each(t, func(l *lab) {
		s := sticky(nodePort(l.service("web"), localPolicy), 600)
		l.put(s, l.slice(s, ready(l.a2, l.b1)...))
		stuck := l.sticks(l.a1, 3, netlab.Shot{To: vip(s)})
		loads := []*load{l.load(l.a1, vip(s)), l.load(l.out, port30080(l.a), port30080(l.b))}
		for range 3 {
			l.a.stop()
			l.b.stop()
			l.reaches(l.out, port30080(l.a), l.out.self(), l.a2)
			l.start(l.a)
			l.start(l.b)
		}
		if again := l.sticks(l.a1, 5, netlab.Shot{To: vip(s)}); again != stuck {
			l.t.Errorf("stuck to %q, after restarts to %q", stuck, again)
		}
		l.unharmed(loads...)
	})
}

// There is no waiting for more changes, but what comes while a transaction is
// under way goes into the next together.
func TestP102_ChangesGoTogether(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.b1)...))
		before := l.a.proxy.Stats().Transactions
		const changes = 3000
		for i := range changes {
			l.world.Put(l.slice(s, ready([]machine{l.b1, l.b2, l.a2}[i%3])...))
		}
		l.settle()
		if n := l.a.proxy.Stats().Transactions - before; n > changes/2 {
			l.t.Errorf("%d transactions for %d changes in a row", n, changes)
		}
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2)
	})
}

// The packets of a connection after the first do not pass the rules.
func TestP103_RulesSeeNewConnectionsOnly(t *testing.T) {
	each(t, func(l *lab) {
		l.command(l.a.machine, "nft", `table inet watch {
			chain nat { type nat hook prerouting priority -101
				meta l4proto { tcp, udp } counter comment "nat"
			}
			chain every { type filter hook prerouting priority -101
				meta l4proto { tcp, udp } counter comment "every"
			}
		}`)
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.b1)...))
		c, u := l.dial(l.a1, "tcp", vip(s)), l.dialUDP(l.a1, vip(s))
		l.askOn(c)
		l.askOn(u)
		for range 50 {
			if _, err := netlab.AskAgain(c, patient); err != nil {
				l.t.Fatal(err)
			}
			l.askOn(u)
		}
		nat, all := -1, -1
		for line := range strings.Lines(l.command(l.a.machine, "nft", "list", "table", "inet", "watch")) {
			words := strings.Fields(line)
			for i, w := range words {
				if w == "packets" && strings.Contains(line, `"nat"`) {
					_, _ = fmt.Sscan(words[i+1], &nat)
				} else if w == "packets" {
					_, _ = fmt.Sscan(words[i+1], &all)
				}
			}
		}
		if nat != 2 || all < 200 {
			l.t.Errorf("%d of %d packets of two connections passed the nat hook, want 2", nat, all)
		}
	})
}

// Pods are replaced one by one: the new one is ready, then the old one drains,
// then its process ends. No request fails, through node or policy.
func TestP104_BlueGreenLosesNothing(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		blue, green := l.a2, l.b1
		on := func(m machine, port uint16) func() { return m.Serve(netip.AddrPortFrom(m.ip, port), m.name) }
		stopBlue := on(blue, 9000)
		put := func(endpoints ...discoveryv1.Endpoint) {
			sl := l.slice(s, endpoints...)
			for i := range sl.Ports {
				*sl.Ports[i].Port = 9000
			}
			l.put(sl)
		}
		l.put(s)
		put(blue.ready())
		loads := []*load{l.load(l.a1, vip(s)), l.load(l.b.machine, vip(s)), l.load(l.out, port30080(l.a), port30080(l.b))}
		const rounds = 8
		for range rounds {
			stopGreen := on(green, 9000)
			put(blue.ready(), green.notReady())
			put(blue.ready(), green.ready())
			put(blue.draining(), green.ready())
			put(green.ready())
			// What is under way to the old one ends first, as pods' grace allows: a listener that
			// closes resets the connections that wait to be accepted, whenever they began.
			for _, c := range loads {
				n := c.made.Load()
				l.until("connections under way to end", func() bool { return c.made.Load() > n+1 || c.ended() })
			}
			stopBlue()
			blue, green, stopBlue = green, blue, stopGreen
		}
		if n := l.unharmed(loads...); n < 2*rounds*len(loads) {
			l.t.Errorf("only %d connections", n)
		}
	})
}
