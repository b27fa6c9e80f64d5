package packet

import (
	"net/netip"
	"slices"
	"testing"
)

func TestP63_NodesAndPodsKeepTheirConnections(t *testing.T) {
	each(t, func(l *lab) {
		for _, own := range []machine{l.b.machine, l.b2} { // each serves on 8080
			at := netip.AddrPortFrom(own.ip, 8080)
			byStatus, bySpec := balanced(l.service("status"), at, clusterPolicy), external(l.service("spec"), at, clusterPolicy)
			for i := range byStatus.Spec.Ports {
				byStatus.Spec.Ports[i].Port, bySpec.Spec.Ports[i].Port = int32(at.Port()), int32(at.Port())
			}
			l.put(byStatus, l.slice(byStatus, ready(l.a1)...))
			if own.ip == l.b2.ip { // a node's address may be named by the spec
				l.put(bySpec, l.slice(bySpec, ready(l.a1)...))
			}
			for _, from := range []machine{l.a.machine, l.a2, l.b.machine, l.b1} {
				l.reaches(from, at, slices.Concat(from.self(), l.a.face, l.b.face), own)
			}
			l.remove(byStatus, bySpec)
		}
	})
}
