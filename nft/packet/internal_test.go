package packet

import (
	"testing"
)

func TestP30_PodKeepsItsAddressAcrossNodes(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2, l.b1, l.b2)
	})
}

func TestP30_NoEndpointsIsRefusedAtOnce(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s)
		for _, from := range []machine{l.a1, l.b1, l.a.machine, l.out} {
			l.refused(from, vip(s))
		}
	})
}
