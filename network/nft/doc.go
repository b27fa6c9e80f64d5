// Package nft brings the rows of package lb into the kernel: for each IP version
// one nf_tables table named fairlead, of family ip or ip6, with a fixed handful
// of rules in which Services and endpoints are plain map elements. There is no
// chain per Service, and no map with many elements holds verdicts, so adding an
// endpoint costs the same among ten Services and among fifty thousand.
//
// The two tables are the same code given another family, which is data: where a
// header has its addresses, how long they are, and how nft prints them. One
// Proxy owns both. They are written by separate transactions.
//
// # How a connection is treated
//
// Only the first packet of a connection passes the nat chains; conntrack does
// the rest.
//
//	prerouting, output   the packet's address, protocol and port are looked up in
//	                     the map services, giving a word: set id and class
//	dispatch             leads from the class to its chain
//	lb-3                 (the class "three endpoints") picks a slot at random, finds
//	                     it in the map endpoints by set id and slot, and translates
//	postrouting, input   decide whether the source is kept, and clear the marks
//
// A class is a way to treat connections: so many endpoints, sticky for so long,
// source kept or not. Its number is in the upper twelve bits of the word, and
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
// # Printing
//
// Whatever is written here has to be printable by the nft command of Debian 12
// (1.0.6), and readable again: a rule that makes it abort takes the listing away
// from every administrator and every program on the host. Keys therefore begin
// in register 1, values go through marks, and maps say in nft's own encoding
// what their parts are.
//
// # Changes
//
// A change of a Service is derived anew, compared with what the same Service had
// before, and the difference committed as one transaction; see book. Slots keep
// their places, so one endpoint less is three to five operations. The kernel's
// maps are never listed to find differences: when something is not as expected
// everything is written again in one transaction, which is faster than reading.
// The maps have a size, which makes them plain hash tables in the kernel, and
// are replaced when four fifths are used.
//
// # Clients that choose, connections that are counted
//
// A set whose clients' addresses choose (annotation client-hash) has a table of
// slots as lb.Spread makes it, alike on every node, and the client's address is
// hashed where others draw a number. Connections are counted by the elements of
// the map endpoints themselves, without a rule, up to Config.CountUpTo; see
// Connections.
//
// The tables are owned by the Proxy's socket: nobody else can flush or delete
// them while the Proxy lives. They persist when the Proxy stops, and the next one
// takes them over together with what clients stick to. To look into a connection,
// use a table of your own with nft's trace; to be rid of the tables, stop the
// program and call Clean.
//
// ICMP is nobody's frontend and is left alone, and with it neighbour discovery;
// only a message to a cluster address itself is refused, as any port of it that
// its Service does not have.
//
// # UDP
//
// A UDP flow lasts as long as its client keeps sending. After a change, flows
// of the frontends concerned that go to an endpoint that is gone, or that began
// before the Service, are deleted from conntrack one by one; see flows. A Proxy
// that begins asks the table it finds whose flows were its predecessor's.
//
// # What it needs
//
// Linux 5.10 or newer, with nf_tables, nf_nat and conntrack and their netlink
// interfaces (NF_TABLES, NFT_CT, NFT_NAT, NFT_MASQ, NFT_REJECT,
// NFT_NUMGEN, NFT_SOCKET, NF_CT_NETLINK). Before 6.9 a table cannot be owned and persist: it
// then has no owner, and changes by others are found by the ruleset's generation
// and undone within a second or so; see verify. Before 6.2 a rewrite cannot keep what
// clients stick to. CAP_NET_ADMIN in the initial user namespace is needed to
// send a large transaction at once. Developed and tested on 6.18.
package nft
