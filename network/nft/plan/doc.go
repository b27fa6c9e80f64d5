// Package plan says what the nf_tables table of an IP version is to be, as data: its
// chains, rules, maps and elements. It turns the rows of package lb into elements
// (Desired), differences into the transactions that carry them out (Change), and a
// whole table into one (Whole). A Table is the same for people: String prints it in
// nft's own language, and needs no kernel for it.
//
// # How a connection is treated
//
// Only the first packet of a connection passes the nat chains; conntrack does
// the rest.
//
//	prerouting, output   the packet's address, protocol and port are looked up in
//	                     the map services, giving a packed verdict: set id and class
//	dispatch             leads from the class to its chain
//	lb-3                 (the class "three endpoints") picks a slot at random, finds
//	                     it in the map endpoints by set id and slot, and translates
//	postrouting, input   decide whether the source is kept, and clear the marks
//
// A class is a way to treat connections: so many endpoints, sticky for so long,
// source kept or not. Its number is in the upper twelve bits of the verdict, and
// plain classes are numbered by their size: 0x00300001 is set 1 with three
// endpoints. A class's chain appears when the first Service needs it, since the
// number of choices is a constant of the rule. A set's id is in the lower twenty
// bits. Cluster address, node port and load balancer addresses of a port lead to
// the same set, so an endpoint is one element however many addresses there are;
// keying endpoints by address instead would save one register move per
// connection and cost a copy of all endpoints per address.
//
// Clients on this node look into the map shortcuts first: there are the
// frontends that treat them differently from the outside. Sets with affinity
// have a level more, sticky-slots and sticky-targets, because what the affinity
// map remembers has to be an endpoint's id that dies with the endpoint: an
// address could be somebody else's by the time the client returns. Where the
// policies give a port two sets, sticky-twins leads from one set to the other, and
// from an endpoint's id in one to its id in the other.
//
// ICMP is nobody's frontend and is left alone, and with it neighbour discovery;
// only a message to a cluster address itself is refused, as any port of it that
// its Service does not have.
//
// # Marks
//
// Within the services chain the packet mark and the conntrack mark are used as
// registers, because those are the registers that the nft command can print.
// Between there and postrouting or input a packet to a Service has one of two
// bits of the packet mark, 0x4000 (source to be replaced unless it is a pod of
// this node) or 0x1000 (source to be kept), and its connection a conntrack mark.
// Both are cleared there, so nothing is seen of them later; marks that others
// put on such a packet before are lost. Packets that are not for a Service keep
// whatever marks they have.
//
// # Weights, clients that choose, connections that are counted
//
// An endpoint with several shares has as many slots.
//
// A set whose clients' addresses choose (annotation client-hash) has a table of
// slots as lb.Spread makes it, alike on every node, and the client's address is
// hashed where others draw a number. Connections are counted by the elements of
// the map endpoints themselves, without a rule, up to Layout.CountUpTo.
package plan
