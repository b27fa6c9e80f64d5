// Package guard keeps NetworkPolicies in force on a node: it follows policies, namespaces and pods, and keeps the kernel's tables of
// package table what package policy makes of them. Connections that a change forbids are cut.
//
// As long as there is no policy, there are no tables, and pods are not watched. The tables stay when the program ends, so selected pods
// stay closed while it is dead; they belong to its socket, so nobody else changes them while it lives.
//
// A pod that the node's agent admits is started when its policies are in the kernel, by the address that its sandbox has been given: the
// API server learns of that later. It stays selected until the agent says that it has ended, even when the API has forgotten it.
package guard
