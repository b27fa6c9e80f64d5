package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// group is a group as rules see it.
type group struct {
	number Group
	peers  map[string]bool // by key
	called named
}

// decide makes the rows of the selected pods of the groups that there are.
func (d *Deriver) decide(all []*selected) {
	groups := d.present()
	d.rows.Blocks.become(d.blocks())
	answers := map[string]*answer{}
	var isolated [2]map[netip.Addr]None
	var some [2]map[Pair]PortSet
	var any [2]map[netip.Addr]PortSet
	self, used := map[netip.Addr]None{}, map[string]bool{}
	for _, direction := range []Direction{Ingress, Egress} {
		isolated[direction], some[direction], any[direction] = map[netip.Addr]None{}, map[Pair]PortSet{}, map[netip.Addr]PortSet{}
		for _, s := range all {
			rules, isolates := s.rules(direction)
			if !isolates {
				continue
			}
			a := d.answerOf(direction, s, rules, groups, answers, used)
			for _, addr := range s.pod.addrs {
				isolated[direction][addr], self[addr] = None{}, None{}
				if a.any != 0 {
					any[direction][addr] = a.any
				}
				for g, set := range a.some {
					some[direction][Pair{g, addr}] = set
				}
			}
		}
		d.rows.Selected[direction].become(isolated[direction])
		d.rows.Some[direction].become(some[direction])
		d.rows.Any[direction].become(any[direction])
	}
	d.rows.Self.become(self)
	d.ports(used)
}

// rules are those of the policies that isolate the pod in a direction.
func (s *selected) rules(d Direction) (all []rule, isolates bool) {
	for _, c := range s.policies {
		if c.rules[d] != nil {
			all, isolates = append(all, *c.rules[d]...), true
		}
	}
	return all, isolates
}

// answer is what a pod's policies let pass in a direction: from everybody, and from those groups that may do otherwise.
type answer struct {
	any  PortSet
	some map[Group]PortSet
}

// answerOf is the same for all pods that the same policies select and, of ingress, that call their ports alike.
func (d *Deriver) answerOf(direction Direction, s *selected, rules []rule, groups []group, known map[string]*answer, used map[string]bool) *answer {
	var b strings.Builder
	b.WriteString(direction.String())
	for _, c := range s.policies {
		b.WriteString(" " + c.object.Namespace + "/" + c.object.Name)
	}
	own := s.pod.called
	if direction == Ingress {
		b.WriteString(" " + own.key(namesIn(rules)))
	}
	key := b.String()
	if a := known[key]; a != nil {
		return a
	}
	a := &answer{any: d.number(letPass(rules, direction, own, group{}), used), some: map[Group]PortSet{}}
	for _, g := range groups {
		if set := d.number(letPass(rules, direction, own, g), used); set != a.any {
			a.some[g.number] = set
		}
	}
	known[key] = a
	return a
}

// letPass is what rules let pass of connections with a group.
func letPass(rules []rule, direction Direction, own named, g group) portSet {
	called := own
	if direction == Egress {
		called = g.called
	}
	var all []PortRange
	for i := range rules {
		r := &rules[i]
		if r.any || len(g.peers) > 0 && slices.ContainsFunc(r.peers, func(p *peer) bool { return g.peers[p.key] }) {
			all = r.ports.appendTo(all, called)
		}
	}
	return newPortSet(all)
}

func namesIn(rules []rule) []portName {
	var all []portName
	for i := range rules {
		all = append(all, rules[i].ports.named...)
	}
	slices.SortFunc(all, comparePortNames)
	return slices.Compact(all)
}

// number is that of a set of ports, which is in use from then on.
func (d *Deriver) number(s portSet, used map[string]bool) PortSet {
	if len(s) == 0 {
		return 0
	}
	key := s.key()
	used[key] = true
	d.known[key] = s
	return PortSet(d.sets.number(key))
}

// ports makes the rows of the sets in use.
func (d *Deriver) ports(used map[string]bool) {
	d.sets.keep(used)
	rows := map[PortRow]None{}
	for key, number := range d.sets.of {
		for _, r := range d.known[key] {
			rows[PortRow{PortSet(number), r}] = None{}
		}
	}
	for key := range d.known {
		if !used[key] {
			delete(d.known, key)
		}
	}
	d.rows.Ports.become(rows)
}

// present are the groups that an address is in: pods' and spans'. Numbers of others are taken back.
func (d *Deriver) present() []group {
	used := map[string]bool{}
	var all []group
	add := func(key string, peers []int, called named) {
		if used[key] {
			return
		}
		used[key] = true
		g := group{number: Group(d.groups.number(key)), peers: map[string]bool{}, called: called}
		for _, i := range peers {
			g.peers[d.peers[i].key] = true
		}
		all = append(all, g)
	}
	for _, p := range d.pods {
		for i, key := range p.groups {
			if key != "" && !used[key] {
				add(key, append(d.peersOf(p), find(d.spans, p.addrs[i])...), p.called.only(d.names))
			}
		}
	}
	for _, s := range d.spans {
		add(d.key(slices.Clone(s.peers)), s.peers, nil)
	}
	d.groups.keep(used)
	return all
}

// blocks are the rows of the spans.
func (d *Deriver) blocks() map[Span]Group {
	rows := map[Span]Group{}
	for _, s := range d.spans {
		rows[s.Span] = Group(d.groups.number(d.key(slices.Clone(s.peers))))
	}
	return rows
}
