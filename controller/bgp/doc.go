// Package bgp says in the status of BGPPeers how the sessions of nodes with routers are, and tells changes by Events.
//
// Nodes decide alone which routers they speak with and what they tell them (package network/announce/bgp); they write nothing about it. While there is a BGPPeer, the agents
// of the nodes that it selects are asked every few seconds, package report says what follows, and what differs from the stored
// status is written.
package bgp
