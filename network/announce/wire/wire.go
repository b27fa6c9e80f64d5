// Package wire is how machines on a network ask each other who has an address, as bytes on Ethernet: ARP (RFC 826, RFC 5227) for IPv4
// and neighbour discovery (RFC 4861) for IPv6. It sends nothing.
package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// HW is a machine's address on Ethernet.
type HW [6]byte

// String is the address as ip link prints it.
func (h HW) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4], h[5])
}

var broadcast = HW{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Heard is what a frame says.
type Heard struct {
	From  HW         // who says it
	Tells netip.Addr // an address that From says it has; not valid: none
	Asks  netip.Addr // an address whose owner is asked for; not valid: none
	Asker netip.Addr // the address that From asks from; unspecified: it has none yet, and asks whether it may have Asks
}

// The parts of frames.
const (
	header     = 14 // of Ethernet
	etherARP   = 0x0806
	etherIPv6  = 0x86dd
	arpSize    = 28
	ipv6Size   = 40
	icmpv6     = 58
	solicit    = 135
	advertise  = 136
	sourceHW   = 1 // options of neighbour discovery
	targetHW   = 2
	solicited  = 0x40
	override   = 0x20
	neighbours = 24 // of a neighbour message without options
)

// Parse reads a frame; ok: it is about who has an address.
func Parse(frame []byte) (h Heard, ok bool) {
	if len(frame) < header {
		return h, false
	}
	h.From = HW(frame[6:12])
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return h.arp(frame[header:])
	case etherIPv6:
		return h.neighbour(frame[header:])
	}
	return h, false
}

func (h Heard) arp(p []byte) (Heard, bool) {
	if len(p) < arpSize || [6]byte(p) != [6]byte{0, 1, 8, 0, 6, 4} {
		return h, false
	}
	sender, target := netip.AddrFrom4([4]byte(p[14:18])), netip.AddrFrom4([4]byte(p[24:28]))
	h.From = HW(p[8:14])
	if !sender.IsUnspecified() {
		h.Tells = sender
	}
	switch op := binary.BigEndian.Uint16(p[6:]); {
	case op == 1 && sender != target:
		h.Asks, h.Asker = target, sender
	case op != 1 && op != 2:
		return h, false
	}
	return h, true
}

func (h Heard) neighbour(p []byte) (Heard, bool) {
	if len(p) < ipv6Size+neighbours || p[0]>>4 != 6 || p[6] != icmpv6 || p[7] != 255 {
		return h, false
	}
	size := int(binary.BigEndian.Uint16(p[4:]))
	if size < neighbours || len(p) < ipv6Size+size {
		return h, false
	}
	source, m := netip.AddrFrom16([16]byte(p[8:24])), p[ipv6Size:ipv6Size+size]
	if m[1] != 0 || checksum([16]byte(p[8:24]), [16]byte(p[24:40]), m) != 0 {
		return h, false
	}
	target := netip.AddrFrom16([16]byte(m[8:24]))
	switch m[0] {
	case solicit:
		h.Asks, h.Asker = target, source
		if hw, ok := option(m[neighbours:], sourceHW); ok && !source.IsUnspecified() {
			h.Tells, h.From = source, hw
		}
	case advertise:
		h.Tells = target
		if hw, ok := option(m[neighbours:], targetHW); ok {
			h.From = hw
		}
	default:
		return h, false
	}
	return h, true
}

// option finds a hardware address among the options of a message.
func option(p []byte, kind byte) (hw HW, ok bool) {
	for len(p) >= 8 && p[1] > 0 {
		if p[0] == kind && p[1] == 1 {
			return HW(p[2:8]), true
		}
		p = p[min(len(p), int(p[1])*8):]
	}
	return hw, false
}

// Question asks who has an address, from somebody who has none yet and would have this one.
func Question(a netip.Addr, self HW) []byte {
	if a.Is4() {
		return arp(broadcast, self, 1, netip.IPv4Unspecified(), HW{}, a)
	}
	to := Group(a)
	return neighbour(groupHW(to), self, netip.IPv6Unspecified(), to, solicit, 0, a, nil)
}

// Answer tells who asks that this machine has the address.
func Answer(h Heard, self HW) []byte {
	a := h.Asks
	if a.Is4() {
		return arp(h.From, self, 2, a, h.From, h.Asker)
	}
	tells := append([]byte{targetHW, 1}, self[:]...)
	if h.Asker.IsUnspecified() { // it cannot be told alone
		return neighbour(groupHW(everybody), self, a, everybody, advertise, override, a, tells)
	}
	return neighbour(h.From, self, a, h.Asker, advertise, solicited|override, a, tells)
}

// News tells everybody that this machine has an address from now on.
func News(a netip.Addr, self HW) []byte {
	if a.Is4() {
		return arp(broadcast, self, 1, a, HW{}, a)
	}
	return neighbour(groupHW(everybody), self, a, everybody, advertise, override, a, append([]byte{targetHW, 1}, self[:]...))
}

// everybody is the group of all machines on a link.
var everybody = netip.MustParseAddr("ff02::1")

// Group is the group of those whose IPv6 address ends as this one does: who asks for it asks them.
func Group(a netip.Addr) netip.Addr {
	g, b := netip.MustParseAddr("ff02::1:ff00:0").As16(), a.As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}

// groupHW is where frames to a group go.
func groupHW(g netip.Addr) HW {
	b := g.As16()
	return HW{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

func ethernet(to, from HW, kind uint16) []byte {
	frame := append(append(make([]byte, 0, 96), to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(frame, kind)
}

func arp(to, self HW, op uint16, sender netip.Addr, targetHW HW, target netip.Addr) []byte {
	frame := append(ethernet(to, self, etherARP), 0, 1, 8, 0, 6, 4)
	frame = append(binary.BigEndian.AppendUint16(frame, op), self[:]...)
	frame = append(append(frame, sender.AsSlice()...), targetHW[:]...)
	return append(frame, target.AsSlice()...)
}

func neighbour(to, self HW, source, group netip.Addr, kind, flags byte, target netip.Addr, options []byte) []byte {
	t := target.As16()
	m := append([]byte{kind, 0, 0, 0, flags, 0, 0, 0}, t[:]...)
	m = append(m, options...)
	from, dest := source.As16(), group.As16()
	binary.BigEndian.PutUint16(m[2:], checksum(from, dest, m))
	frame := append(ethernet(to, self, etherIPv6), 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(m)))
	frame = append(append(frame, icmpv6, 255), from[:]...)
	return append(append(frame, dest[:]...), m...)
}

// checksum is that of an ICMPv6 message between two addresses (RFC 4443 section 2.3); of one that has its own it is 0.
func checksum(source, dest [16]byte, m []byte) uint16 {
	var sum uint32
	add := func(p []byte) {
		for i := 0; i+1 < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
		if len(p)%2 == 1 {
			sum += uint32(p[len(p)-1]) << 8
		}
	}
	add(source[:])
	add(dest[:])
	add(m)
	sum += uint32(len(m)) + icmpv6
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
