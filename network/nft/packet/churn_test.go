package packet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// In each family endpoints change five thousand times, the proxy is killed and
// started again in the middle, and of fifteen thousand connections none fails. A
// UDP flow that never ends follows its endpoints, those that changed while nobody
// looked too.
func TestP101_ChurnAndKill(t *testing.T) {
	const changes, connections = 5000, 15000
	eachIdle(t, func(l *lab) {
		l.world.MarkSynced()
		l.start(l.b)
		c := &child{l: l, on: l.a}
		for _, n := range l.world.Nodes() {
			c.known = append(c.known, n)
		}
		web, aff := nodePort(l.service("web"), clusterPolicy), sticky(l.service("aff"), 600)
		local, dns := external(l.service("local"), l.ext(1), localPolicy), l.service("dns")
		variants := [][]machine{{l.a2}, {l.b1, l.b2}, {l.a2, l.b1, l.b2, l.out}, {l.b1}, {l.a1, l.a2}, {l.b2, l.a2, l.b1}, {l.b.machine, l.a.machine}}
		for i, s := range []*corev1.Service{web, aff, local, dns} {
			c.put(s)
			c.put(l.slice(s, ready(variants[i+1]...)...))
		}
		c.put(l.slice(local, ready(l.a2)...))
		c.put(l.slice(dns, ready(l.b1)...))
		c.start()
		flow := l.dialUDP(l.a1, vip(dns))
		l.turnsTo(l.b1, flow)
		loads := []*load{
			l.load(l.a1, vip(web), vip(aff), port30080(l.a)), l.load(l.a.machine, vip(web), vip(aff)),
			l.load(l.out, port30080(l.a), vip(web), vip(aff), l.ext(1)), l.load(l.b1, port30080(l.a)),
		}
		for i := range changes {
			for _, c := range loads { // about as many connections by then as changes
				c.limit.Store(int64(connections / len(loads) * (i + changes/100) / changes))
			}
			s := []*corev1.Service{web, aff}[i%2]
			next := l.slice(s, ready(variants[i/2%len(variants)]...)...)
			switch i % (changes / 4) {
			case changes / 8:
				c.kill(next)
				c.put(l.slice(dns, ready(l.b2)...)) // nobody is there to see it
			case changes/8 + 10:
				c.put(next)
				c.start()
				l.turnsTo(l.b2, flow)
				c.put(l.slice(dns, ready(l.b1)...))
				l.turnsTo(l.b1, flow)
			default:
				c.put(next)
			}
			if i%100 == 50 { // a Local set grows and shrinks around the one that stays
				c.put(l.slice(local, ready([]machine{l.a2, l.b1, l.a1, l.b2}[:1+(i/100+1)%4]...)...))
			}
		}
		for _, c := range loads {
			c.limit.Store(connections/int64(len(loads)) + 1)
			l.until("enough connections", func() bool { return c.made.Load() >= connections/int64(len(loads)) || c.ended() })
		}
		n := l.unharmed(loads...)
		again := 0
		for _, m := range []machine{l.a1, l.a.machine, l.out, l.b1} {
			again += l.resent(m)
		}
		l.t.Logf("%d connections during %d changes and 4 kills; %d packets were sent twice", n, changes, again)
	})
}
