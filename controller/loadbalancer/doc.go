// Package loadbalancer gives Services of type LoadBalancer their addresses, from AddressPools, and has nodes announce them.
//
// Every change of a Service, pool, node or namespace leads to one pass over all Services. What they have by their statuses, which
// are the only record of what is given, is laid beside what they may have, and package plan decides; where a status is to say
// something else it is written, with the version it was read at, so that nobody else's word is overwritten. A write without an answer
// is neither made nor not made: until the cache shows what became of it, its address is that Service's and nobody else's, and
// the same write is made again.
//
// Addresses whose pool says so, and spec.externalIPs where the server allows them, are announced by one node each. Which, plan.Board
// decides: the agents of nodes are asked every quarter of a second, and what each is to announce is said in the question. A node that
// is silent for more than a second loses its addresses to others, one that is about to stop hands them over first. No store is
// written for that, and no clock of a node matters. What comes of it is a condition and an Event of the Service.
package loadbalancer
