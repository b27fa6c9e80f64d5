// Package plan decides what a node tells its network about addresses: on which links, when, and what it answers. It only computes:
// times come in, frames go out.
//
// An address that nobody of the cluster is known to have had is asked for first, three times (RFC 5227 section 2.1, with shorter
// pauses: an address that does not answer within half a second has nobody). Whoever answers keeps it, and is asked again some
// time later. Then, and at once for an address that another node had, the network is told, several times over a few seconds and then
// every half minute, and whoever asks is answered. If another machine tells that it has the address, the network is told again
// (RFC 5227 section 2.4), but not when this node is to hand it over, nor when the control plane has been silent: then another node has been
// given it, and this one says no more until it is told to.
package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/network/announce/wire"
)

const (
	probes     = 3
	probePause = 150 * time.Millisecond
	askAgain   = 10 * time.Second // after somebody else had the address
	refresh    = 30 * time.Second
	defence    = 10 * time.Second // between two times that an address is defended
	rivalry    = time.Minute      // for how long a rival is told of after it was heard
)

// burst are the pauses between the first times that the network is told.
var burst = []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second}

// Link is a link of this node to other machines.
type Link struct {
	Index    int
	Name     string
	HW       wire.HW
	Networks []netip.Prefix // of its own addresses
	Four     bool           // it has the default route of IPv4
	Six      bool           // and of IPv6
}

// Send is a frame to be sent on a link.
type Send struct {
	Link  int
	Frame []byte
}

type state uint8

const (
	placing state = iota // the links are not looked at yet
	probing
	announcing
	inUse   // somebody else has it
	yielded // another node has it, as it seems
	nowhere // no link to announce it on
	own     // the node itself has it, on a link: the kernel answers
)

// place is one address.
type place struct {
	announce.Address
	state    state
	links    []Link
	step     int       // how often it was asked for, or told
	next     time.Time // of the next thing to do
	begun    time.Time
	defended time.Time
	why      string
	rival    string // who was heard to claim what is announced here
	until    time.Time
}

// Machine is what a node does about its addresses. It is plain data and not safe for concurrent use.
type Machine struct {
	links    []Link
	owned    map[netip.Addr]bool // addresses of the node's links
	revision string
	asked    time.Time // by the control plane, the last time
	leaving  bool
	places   map[netip.Addr]*place
}

// NewMachine returns one that has nothing to announce.
func NewMachine() *Machine { return &Machine{places: map[netip.Addr]*place{}} }

// Told takes what the control plane says, and returns what it is to know.
func (m *Machine) Told(now time.Time, r announce.Request) announce.Reply {
	m.asked = now
	if r.Full {
		m.list(r.Addresses)
		m.revision = r.Revision
	}
	reply := announce.Reply{Revision: m.revision, Leaving: m.leaving}
	if r.Revision != m.revision {
		reply.Addresses = slices.SortedFunc(maps.Keys(m.places), netip.Addr.Compare)
		return reply
	}
	for _, a := range slices.SortedFunc(maps.Keys(m.places), netip.Addr.Compare) {
		switch p := m.places[a]; p.state {
		case yielded: // nobody else has it, as the control plane sees it
			p.begin(now)
		case placing, probing:
			reply.Pending = append(reply.Pending, a)
		case announcing:
			if p.rival != "" && now.Before(p.until) {
				reply.Rivals = with(reply.Rivals, a, p.rival)
			}
		case inUse, nowhere:
			reply.Problems = with(reply.Problems, a, p.why)
		}
	}
	return reply
}

// with is a map with one more in it.
func with(all map[netip.Addr]string, a netip.Addr, text string) map[netip.Addr]string {
	if all == nil {
		all = map[netip.Addr]string{}
	}
	all[a] = text
	return all
}

// list makes the addresses those of a list.
func (m *Machine) list(all []announce.Address) {
	keep := map[netip.Addr]bool{}
	for _, a := range all {
		keep[a.Addr] = true
		p := m.places[a.Addr]
		if p == nil {
			p = &place{Address: a}
			m.places[a.Addr] = p
		}
		p.Address = a
	}
	maps.DeleteFunc(m.places, func(a netip.Addr, _ *place) bool { return !keep[a] })
}

// SetLinks sets which links there are, and which addresses the node has on any of them.
func (m *Machine) SetLinks(now time.Time, links []Link, owned []netip.Addr) {
	m.links, m.owned = links, map[netip.Addr]bool{}
	for _, a := range owned {
		m.owned[a] = true
	}
	for _, p := range m.places {
		if on := m.on(p.Addr); p.state == placing || !slices.EqualFunc(on, p.links, same) || (p.state == own) != m.owned[p.Addr] {
			m.put(now, p)
		}
	}
}

func same(a, b Link) bool { return a.Index == b.Index && a.HW == b.HW && a.Name == b.Name }

// on are the links that an address is announced on: those whose network it is of, else those that lead to everywhere.
func (m *Machine) on(a netip.Addr) []Link {
	inside := func(l Link) bool {
		return slices.ContainsFunc(l.Networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	var near, far []Link
	for _, l := range m.links {
		switch {
		case inside(l):
			near = append(near, l)
		case a.Is4() && l.Four || a.Is6() && l.Six:
			far = append(far, l)
		}
	}
	if len(near) > 0 {
		return near
	}
	return far
}

// put begins with an address on the links that there are.
func (m *Machine) put(now time.Time, p *place) {
	p.links, p.why = m.on(p.Addr), ""
	switch {
	case m.owned[p.Addr]:
		p.state = own
	case len(p.links) == 0:
		p.state, p.why = nowhere, "no link has a network with this address, and none a default route of its family"
	case p.Probe:
		p.state, p.step, p.next = probing, 0, now
	default:
		p.begin(now)
	}
}

// begin announces an address from now on.
func (p *place) begin(now time.Time) {
	p.begun, p.state, p.why = now, announcing, ""
	p.tell(now)
}

// tell tells the network of an announced address anew.
func (p *place) tell(now time.Time) { p.step, p.next = 0, now }

// Leave has the control plane give the addresses to others. Those that are left are answered for until the end.
func (m *Machine) Leave() { m.leaving = true }

// Left reports whether others have all addresses, or there is nobody to give them to others.
func (m *Machine) Left(now time.Time) bool {
	return len(m.places) == 0 || now.Sub(m.asked) > 2*announce.Interval
}

// Heard takes what was heard on a link.
func (m *Machine) Heard(now time.Time, link int, h wire.Heard) {
	p := m.places[h.Tells]
	if p == nil || slices.ContainsFunc(m.links, func(l Link) bool { return l.HW == h.From }) {
		return
	}
	i := slices.IndexFunc(p.links, func(l Link) bool { return l.Index == link })
	if i < 0 {
		return
	}
	who := fmt.Sprintf("%s on link %s", h.From, p.links[i].Name)
	switch {
	case p.state == probing || p.state == inUse:
		p.state, p.next = inUse, now.Add(askAgain)
		p.why = who + " answers for it"
	case p.state == announcing && now.Sub(m.asked) > announce.Silence:
		p.state = yielded
	case p.state == announcing && !p.Ending:
		p.heardOf(now, who)
	}
}

// heardOf takes that somebody claims an announced address. Right after this node has begun, that may be the node before, which does not
// know it yet.
func (p *place) heardOf(now time.Time, who string) {
	if now.Sub(p.begun) > announce.Silence {
		p.rival, p.until = who+" claims it as well", now.Add(rivalry)
	}
	if now.Sub(p.defended) >= defence {
		p.defended = now
		p.tell(now)
	}
}

// Due are the frames to be sent now, and when to ask again; zero: when something has changed.
func (m *Machine) Due(now time.Time) (all []Send, next time.Time) {
	for _, a := range slices.SortedFunc(maps.Keys(m.places), netip.Addr.Compare) {
		p := m.places[a]
		for p.due(now) {
			all = append(all, p.act(now)...)
		}
		if p.timed() && (next.IsZero() || p.next.Before(next)) {
			next = p.next
		}
	}
	return all, next
}

func (p *place) timed() bool { return p.state == probing || p.state == announcing || p.state == inUse }

func (p *place) due(now time.Time) bool { return p.timed() && !now.Before(p.next) }

// act does what is due about an address.
func (p *place) act(now time.Time) (all []Send) {
	frame := wire.News
	switch {
	case p.state == inUse: // perhaps nobody any more
		p.state, p.step = probing, 0
		fallthrough
	case p.state == probing && p.step < probes:
		frame = wire.Question
		p.step++
		p.next = now.Add(probePause)
	case p.state == probing:
		p.begin(now)
		fallthrough
	default:
		pause := refresh
		if p.step < len(burst) {
			pause = burst[p.step]
		}
		p.step++
		p.next = now.Add(pause)
	}
	for _, l := range p.links {
		all = append(all, Send{l.Index, frame(p.Addr, l.HW)})
	}
	return all
}

// Answer is the frame that answers what was heard on a link; nil: it is not for this node to answer.
func (m *Machine) Answer(link int, h wire.Heard) []byte {
	p := m.places[h.Asks]
	if p == nil || p.state != announcing {
		return nil
	}
	i := slices.IndexFunc(p.links, func(l Link) bool { return l.Index == link })
	if i < 0 {
		return nil
	}
	return wire.Answer(h, p.links[i].HW)
}

// Use is an address on a link that frames have to arrive from.
type Use struct {
	Link int
	Addr netip.Addr
}

// Uses are the links, and the addresses on them, that frames have to arrive from.
func (m *Machine) Uses() map[Use]bool {
	all := map[Use]bool{}
	for _, p := range m.places {
		if p.state != own {
			for _, l := range p.links {
				all[Use{l.Index, p.Addr}] = true
			}
		}
	}
	return all
}

// Placing reports whether there are addresses for which the links have to be looked at.
func (m *Machine) Placing() bool {
	for _, p := range m.places {
		if p.state == placing {
			return true
		}
	}
	return false
}

// Empty reports whether there is nothing to announce.
func (m *Machine) Empty() bool { return len(m.places) == 0 }
