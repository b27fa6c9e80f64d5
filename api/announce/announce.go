// Package announce is how the control plane and the agents of nodes talk about addresses that nodes tell the network of: which
// each node is to announce, and what has become of that. The control plane asks every few tenths of a second; that a node answers is
// also how it is known to be alive.
package announce

import (
	"net/netip"
	"time"
)

// Path is where an agent is asked, by POST.
const Path = "/fairlead/v1/announce"

// The pace of the conversation. An address moves when its node has been silent for Silence, which is long enough for a few
// questions and short enough that the next node answers within two seconds of the death of the one before.
const (
	Interval = 250 * time.Millisecond
	Silence  = 1200 * time.Millisecond
)

// Address is one address that a node is to announce.
type Address struct {
	Addr netip.Addr `json:"addr"`
	// Probe has the node ask first whether anybody else has the address. It is for addresses that no other node of the cluster is known to
	// have announced.
	Probe bool `json:"probe,omitempty"`
	// Ending says that another node is about to announce it: this one goes on, and does not mind that one.
	Ending bool `json:"ending,omitempty"`
}

// Request says what a node is to announce.
type Request struct {
	// Revision is of the list of addresses. A node that has that list needs it no more.
	Revision string `json:"revision"`
	// Full says that Addresses are the list; otherwise the node keeps the one it has.
	Full      bool      `json:"full,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
}

// Reply is what has become of the addresses of a node.
type Reply struct {
	// Revision is that of the list that the node works on, empty if it has none.
	Revision string `json:"revision"`
	// Addresses are all of that list, if its revision is not the one asked about: a control plane that begins learns from it who
	// announces what.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Pending are not announced yet: the node still asks whether anybody else has them.
	Pending []netip.Addr `json:"pending,omitempty"`
	// Problems are not announced, with the reason, as in "02:00:00:00:00:01 on link eth0 answers for it".
	Problems map[netip.Addr]string `json:"problems,omitempty"`
	// Rivals are others that say that they have addresses which this node announces, as in Problems.
	Rivals map[netip.Addr]string `json:"rivals,omitempty"`
	// Leaving says that the node is about to stop and that others are to take its addresses.
	Leaving bool `json:"leaving,omitempty"`
}
