// Package policy says which connections NetworkPolicies (networking.k8s.io/v1) let pass on one node, as rows of a few tables: pure.
//
// A connection is looked at twice: on the node of the pod that begins it, by the egress rules of the policies that select this pod,
// and on the node of the pod that is to have it, by the ingress rules of those that select that one. Either may be the only one that
// is selected, and on one node it may be both. The addresses are those after a Service has been resolved; ports are those of the pod.
//
// # Rows
//
// Everything that a rule may name as the other side is a peer: a selector of pods, or a block of addresses. All addresses to which the
// same peers apply are one group, so a group stands for the whole answer to "who is this". A connection of a selected pod then takes
// three steps, however many policies there are:
//
//	address of the other side           -> group       Peers (pods), else Blocks (any address), else none
//	group, address of the selected pod  -> port set    From (ingress) or To (egress), else FromAny or ToAny
//	port set, protocol, port            -> let pass    Ports
//
// What is in none of the tables is refused. A row that all others would have, too, is said once: FromAny and ToAny have what rules
// without peers let pass, and From and To only the groups that may do more.
//
// Named ports are resolved here: of ingress rules by the selected pod, of egress rules by the other one, so groups differ by them, too.
//
// Pods in their node's network are neither selected nor peers: they have the node's address, to which only blocks apply. What a node
// begins itself towards its own pods, and what its pods begin towards it, is not looked at at all: probes must pass (upstream's
// documentation of NetworkPolicy: traffic to and from the node where a pod is running is always allowed). A pod may always reach itself.
//
// Rules without ports concern all protocols; what has no ports, such as ICMP, passes by them alone.
package policy
