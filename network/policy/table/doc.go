// Package table says what the nf_tables tables of policies are to be, of each IP version one named fairlead-policy, as data: a fixed
// handful of rules, and the rows of package policy as elements of sets and maps. It is pure.
//
// # How a packet is treated
//
// Only packets that are passed on are looked at: what the node itself sends to its pods, and they to it, does not come by. Of a
// connection only the first packet is looked at, before an answer; the others find it in conntrack. A packet between pods that no
// policy selects costs two lookups.
//
//	forward        connections that were cut, then those that are known, pass by; selected pods lead to egress and ingress
//	egress         the other side's group goes into the conntrack mark, from peers, else from blocks
//	egress-group   group and pod lead to a port set, which replaces it
//	egress-any     else what everybody may
//	judge          port set, protocol and port: passes, or is refused
//
// Ingress is the same the other way round. The conntrack mark is a register there, since that is what the nft command can print; in the
// end it is zero. A foreign mark of a connection of a selected pod is lost.
//
// What is refused is told so, as a router of a firewall tells it (ICMP, administratively prohibited): the client knows at once, and can
// tell it from a server that is not there. The elements of refused-in and refused-out count it.
//
// # Connections that a change forbids
//
// They are given the mark of cut connections in conntrack, rather than deleted there: a packet the other way would begin a connection
// anew in which the roles are exchanged, and that may be allowed. TCP is reset.
package table
