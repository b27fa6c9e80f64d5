// Package bgp tells routers by BGP which addresses this node serves, and takes leave of them so that no packet is lost.
//
// An Announcer follows the World; package plan says what follows for this node. A Speaker has a session for each Peer that it is given; without one it has started nothing, listens nowhere and holds
// nothing. Each session is a GoBGP server of its own with one neighbour. What is in its table is what that router is told, so there
// are no policies between them, and each may have its own AS, router id, next hops and communities. Sessions are
// outgoing; nothing ever listens. What a router tells is not taken into any table of this host: nodes have
// their routes from elsewhere.
//
// A program that dies leaves the kernel forwarding. With graceful restart (RFC 4724) the router keeps the routes as well until
// the next start: the connection ends without a farewell, and the new one says "restarted, and forwarding meanwhile". One that
// stops in order first marks its routes as going away (RFC 8326), then withdraws them, while the kernel still forwards.
package bgp
