package policy

import (
	"net/netip"
	"slices"
	"sort"
)

// Judge tells which packets rows let pass, step by step as the kernel does it.
type Judge struct {
	rows  *Rows
	ports map[PortSet][]PortRange
	spans []Row[Span, Group] // in order
}

// Judge returns a Judge for the rows as they are now.
func (r *Rows) Judge() *Judge {
	j := &Judge{rows: r, ports: map[PortSet][]PortRange{}, spans: r.Blocks.All()}
	for row := range r.Ports.rows {
		j.ports[row.Set] = append(j.ports[row.Set], row.PortRange)
	}
	slices.SortFunc(j.spans, func(a, b Row[Span, Group]) int { return a.Key.First.Compare(b.Key.First) })
	return j
}

// Passes reports whether the rows let a packet pass that begins a connection.
func (j *Judge) Passes(p Packet) bool {
	return p.Source == p.Dest || j.passes(Egress, p.Source, p.Dest, p) && j.passes(Ingress, p.Dest, p.Source, p)
}

func (j *Judge) passes(d Direction, pod, other netip.Addr, p Packet) bool {
	if _, selected := j.rows.Selected[d].Get(pod); !selected {
		return true
	}
	set, ok := j.rows.Some[d].Get(Pair{j.groupOf(other), pod})
	if !ok {
		set, _ = j.rows.Any[d].Get(pod)
	}
	return slices.ContainsFunc(j.ports[set], func(r PortRange) bool { return r.has(p.Protocol, p.Port) })
}

func (j *Judge) groupOf(a netip.Addr) Group {
	if g, ok := j.rows.Peers.Get(a); ok {
		return g
	}
	i := sort.Search(len(j.spans), func(i int) bool { return a.Less(j.spans[i].Key.First) }) - 1
	if i < 0 || j.spans[i].Key.Last.Less(a) {
		return 0
	}
	return j.spans[i].Value
}
