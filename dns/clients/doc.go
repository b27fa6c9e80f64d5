// Package clients has tests and benchmarks of package dns with the clients that pods have: dig, the C library's
// resolver, and dnsperf, each in a network namespace behind a pod's link. It needs root, and holds no code.
package clients
