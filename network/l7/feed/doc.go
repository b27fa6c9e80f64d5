// Package feed keeps a node's L7 engine told: what it serves, among which
// endpoints it picks, with which certificates, and on which sockets.
//
//	World: Ingresses, classes, Services ──> l7/ingress, l7/service, Sources ──> route.Table ──> engine
//	World: EndpointSlices ───────────────> lb.Endpoints ──────────────────────> the engine's pools
//	Secrets that are named ──────────────> certificates, as handshakes ask for them
//
// Changes are taken together, as many as there are, and are served a moment
// later. A change of endpoints makes no new table.
//
// # Sockets
//
// The engine's own address, to which the node's rules send connections to
// Services, is listened on from the start: nobody but these reaches it. The
// node's ports for Ingresses are opened when there is an Ingress that is served,
// on each address of the node and no other, and closed with the last one. A port
// that somebody else has is tried again, and told.
//
// A node port, or an external address of a Service, that is the same address and
// port goes first: the kernel translates before it looks for a socket.
//
// # Without the API server
//
// What is served is kept in a file, with the Secrets that it needs: a goroutine
// of its own adds what has changed, about a second later at most. A process
// that begins serves from there until its World is complete, and takes nothing
// away before.
package feed
