// Package nft keeps the kernel what the World says, by the rows of package lb and
// the tables of package plan, which says how a connection is treated: for each IP version
// one nf_tables table named fairlead, of family ip or ip6, with a fixed handful
// of rules in which Services and endpoints are plain map elements. There is no
// chain per Service, and no map with many elements holds verdicts, so adding an
// endpoint costs the same among ten Services and among fifty thousand.
//
// The two tables are the same code given another family, which is data: where a
// header has its addresses, how long they are, and how nft prints them. One
// Proxy owns both. They are written by separate transactions.
//
// # Changes
//
// A change of a Service is derived anew, compared with what the same Service had
// before, and the difference committed as one transaction; see plan.Desired. Slots keep
// their places, so one endpoint less is three to five operations. The kernel's
// maps are never listed to find differences: when something is not as expected
// everything is written again in one transaction, which is faster than reading.
// The maps have a size, which makes them plain hash tables in the kernel, and
// are replaced when four fifths are used.
//
// The tables are owned by the Proxy's socket: nobody else can flush or delete
// them while the Proxy lives. They persist when the Proxy stops, and the next one
// takes them over together with what clients stick to. To look into a connection,
// use a table of your own with nft's trace; to be rid of the tables, stop the
// program and call Clean.
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
