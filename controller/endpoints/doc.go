// Package endpoints answers the question "which pods stand behind this Service?" and writes the
// answer into the API, where proxies, DNS servers and people read it:
//
//	Services ─┐                       ┌─> EndpointSlices  at most 100 endpoints each, every detail
//	Pods ─────┼─> plan (pure) ─> loop ┤
//	Nodes ────┘                       └─> Endpoints       one object named like its Service
//
//	Endpoints written by hand ─> plan (pure) ─> loop ──> EndpointSlices that mirror them
//
// The way of a change through the files, and the order to read them in:
//
//  1. watch.go: an event of a pod, Service, node, or of what the loops write themselves. It is
//     turned into names of Services: by selectors.go, which finds those that select a pod.
//  2. loop.go: three loops of one shape, each a queue of these names. They are level based: an
//     event only names a Service, and the plan looks at everything that is true about it now.
//  3. sync.go: one look at one Service. It reads the caches (index.go), with the loop's own writes
//     that they do not show yet, asks a plan, and writes what the plan says is missing.
//  4. plan/: the plans, pure functions from objects to the writes that are missing.
//  5. metrics.go counts what was done; endpoints.go puts the parts together.
//
// The invariant: a write happens only when an object differs from what it should be, so a cluster
// in which nothing changes sees no writes, and a change of one pod writes one slice.
//
// Rules are cited by the ids of our behaviour catalogue ("rule E25"); they restate what the
// endpoints, endpointslice and endpointslicemirroring controllers of Kubernetes do.
//
// The package deliberately does not remove the EndpointSlices of a deleted Service: they carry an
// owner reference, and garbage collection removes them (rule E66).
package endpoints
