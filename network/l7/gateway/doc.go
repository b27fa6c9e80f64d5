// Package gateway is what Gateway API objects come to: the listeners and rules
// that an engine serves for each Gateway, and the status that each object is to
// have. It only computes. The engine of a node and the controller that writes
// statuses call the same function, so that what is said and what is done cannot
// disagree.
//
//	View (objects as they are now) -> Derive -> Result
//	  Entries    what engines serve at the Service of each Gateway
//	  Gateways   the Service that each Gateway is to have, its UDP ports, its status
//	  Routes, ListenerSets, Policies, Classes   their statuses
//
// A Gateway's listeners are its own and those of the ListenerSets that it
// allows (listener.go). A route is attached to those of its parents' listeners
// that allow its kind, namespace and host names (attach.go); its rules are
// translated once (httproute.go, grpcroute.go, stream.go), with what its
// backends resolve to (backend.go, policy.go), and put in order of precedence
// for each host of each listener (entry.go).
//
// Words and rules are those of Gateway API v1.6 (sigs.k8s.io/gateway-api, apis/v1).
package gateway
