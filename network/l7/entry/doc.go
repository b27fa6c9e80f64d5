// Package entry says which port of which Service a connection was meant for
// that the node's rules have sent to its L7 engine (rules P110 to P114).
//
// The kernel has translated the destination and kept the source. What the
// destination was it tells of an accepted socket, and by the frontends of
// package lb, the same that the rules were made of, that is a Service's port.
// A connection that was not translated leads nowhere.
package entry
