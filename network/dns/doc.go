// Package dns answers the cluster's names on every node and forwards all others.
//
//	world (watches) -> zone.Builder -> zone.Zone -> atomic pointer -> UDP and TCP sockets
//	                                                               \-> upstream servers (other names)
//
// The work is done when a Service changes, not when a question arrives: package zone turns one Service and
// its EndpointSlices into finished wire answers, and a Zone is an immutable value holding them all. A
// question is case-folded, looked up once, and answered by copying bytes; nothing is allocated and
// nothing is locked. A change copies a few kilobytes of the Zone, however many Services there are.
//
// The names, and what is said about those that do not exist, follow the Kubernetes DNS specification
// (schema 1.1.0); where it is silent the reference is CoreDNS's kubernetes plugin with its defaults
// and "pods insecure", as kubeadm deploys it. The rule ids N1 to N40 in comments are this
// repository's numbering of those paragraphs.
//
// The invariant: a Zone never changes after it was published, and a name inside the cluster zone is
// never sent to another server.
//
// Refused on purpose: zone transfers, wildcards, DNSSEC, and any configuration language.
package dns
