package announce

import "time"

// RoutersPath is where an agent tells, by GET, how its node's BGP sessions are: a list of Router.
const RoutersPath = "/fairlead/v1/bgp"

// Router is how the session of a node with one router is.
type Router struct {
	Peer        string    `json:"peer"` // name of the BGPPeer
	Established bool      `json:"established"`
	Since       time.Time `json:"since"`            // of Established, or of its not being so
	Routes      int       `json:"routes"`           // that the router is told while the session is established
	Reason      string    `json:"reason,omitempty"` // why there is none
}
