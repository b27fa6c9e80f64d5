// Package route gives a node the link and the routes that Services and pods
// need.
//
// The link fairlead0 is a bridge without ports. It never carries a packet: it
// holds the cluster DNS address and that of the L7 engine, which makes the node
// itself answer there, and it is where the route to the Service range points, so that the node's own
// connections to a cluster address get as far as the output hook, where they
// are sent to an endpoint. A bridge is used because every kernel has one, and
// one without ports has no carrier, which matters neither to addresses nor, as
// long as the sysctl ignore_routes_with_linkdown is off, to routes.
//
// The pods of other nodes are reached by one plain route per node through the
// node's own address, which needs all nodes on one segment.
//
// What no better route is known for in the ranges of pods and Services is
// unreachable: by the host's default route a packet to a pod that is gone would
// reach a stranger with its address. Those routes have the worst metric, so that
// any other to the same range goes first. A node of a lab has a default route to
// the link, which leads nowhere either, for connections to addresses that a
// Service has. Networks whose addresses only Services of this host have are as
// the Service range is.
//
// Whatever of this others take away comes back, as soon as the kernel tells that
// links, addresses, routes or its switches for forwarding have changed.
//
// Routes made here carry the routing protocol number 70, so that they can be
// told from everybody else's and stale ones be removed.
package route
