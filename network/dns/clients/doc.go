// Package clients has tests of package dns with the clients that pods have: dig and the C library's
// resolver, each in a network namespace behind a pod's link. It needs root, and holds no code.
package clients
