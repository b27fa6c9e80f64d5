// Package health tells the outside how the Service layer of one node is doing.
//
// Load balancers ask two kinds of questions. For a Service of type LoadBalancer with
// externalTrafficPolicy Local they ask each node's healthCheckNodePort whether the node has endpoints of that
// Service; for all others they ask /healthz on port 10256 whether the node forwards at all and is going to
// stay (KEP-3836). /livez beside it answers for the program alone: a node that is being removed is no
// reason to restart its proxy.
//
// Answers are computed from the World when they are asked for. Only listeners are state: they come and go
// with the Services, and a port that another program holds is tried again every second, with an Event that
// names the holder.
package health
