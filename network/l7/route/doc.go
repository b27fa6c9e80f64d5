// Package route is what an L7 engine does with connections and requests: which
// listener a connection belongs to, which rule a request meets, what is done
// with it on the way and which backends it may go to.
//
// A Table is everything at one moment. It is made by pure functions from
// Ingresses (network/l7/ingress) and from Gateway API objects
// (network/l7/gateway), and is never changed after it was made: the engine holds
// the newest behind an atomic pointer. It names Services and Secrets; whose
// endpoints and certificates these are at the moment of a request, the engine
// knows.
//
//	connection -> Entry (where it came in)
//	           -> Listener (by SNI, or by the request's host)
//	           -> Host (by the request's host) -> Rule (first match in order of precedence)
//	           -> Action (checks, changes, answer or backends)
package route
