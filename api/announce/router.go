package announce

import (
	"net/netip"
	"slices"
	"time"
)

// RoutersPath is where an agent tells, by GET, how its node's BGP sessions are: a list of Router.
const RoutersPath = "/fairlead/v1/bgp"

// Router is how the session of a node with one router is.
type Router struct {
	Peer        string    `json:"peer"` // name of the BGPPeer
	Established bool      `json:"established"`
	Since       time.Time `json:"since"`            // of Established, or of its not being so
	Routes      int       `json:"routes"`           // that the router is told while the session is established
	Reason      string    `json:"reason,omitempty"` // why there is none
	// Told are the addresses of Routes.
	Told []netip.Addr `json:"told,omitempty"`
}

// Told is which routers have been told of an address, by which nodes: by address and BGPPeer the names of the nodes, in order.
type Told map[netip.Addr]map[string][]string

// Routers are those that have been told of an address, by the names of their BGPPeers, in order.
func (t Told) Routers(a netip.Addr) []string {
	var all []string
	for peer := range t[a] {
		all = append(all, peer)
	}
	slices.Sort(all)
	return all
}
