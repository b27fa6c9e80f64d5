// Package upstream is where an L7 engine sends requests: the endpoints of a
// Service's port, which of them is next, which to leave alone for a while
// because connections to it fail, and the connections that are kept to them.
//
// Which endpoints may be used is decided by network/lb, as for the kernel: a
// Pool is told, and keeps what it knows of endpoints that stay.
package upstream
