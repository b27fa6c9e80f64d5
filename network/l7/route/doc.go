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
//
// # Paths
//
// Rules look at the path in its normal form, which NormalPath makes of what was
// sent, and makers of rules make of what was written: percent-encoding decoded
// once, slashes that follow each other merged, dot segments resolved. It is what
// nginx compares locations with. Nobody can get round a rule by writing its path
// in another way, as /x/../admin, //admin and /%61dmin are all /admin. What is no
// path (a bad escape, a NUL, more ".." than there is to leave) is refused with
// 400 before there is a rule.
//
// A backend is sent the path as the client sent it, unless a Rewrite changed it:
// then the result of that, which is a path in normal form, percent-encoded anew.
//
// # Finding a rule
//
// A Host with more than a few rules has an index: exact paths by a map, prefixes
// by one map look-up for each length that a prefix has and at which the path may
// be cut, and only expressions one by one, of which nobody has many. What costs
// is bounded by the rules, not by the request, and nothing is allocated.
package route
