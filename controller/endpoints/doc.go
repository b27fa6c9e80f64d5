// Package endpoints answers the question "which pods stand behind this Service?" and writes the
// answer into the API, where proxies, DNS servers and people read it:
//
//	Services ─┐                       ┌─> EndpointSlices  at most 100 endpoints each, every detail
//	Pods ─────┼─> plan (pure) ─> loop ┤
//	Nodes ────┘                       └─> Endpoints       one object named like its Service
//
//	Endpoints written by hand ─> plan (pure) ─> loop ──> EndpointSlices that mirror them
//
// There are three plans, each a pure function from objects to the writes that are missing:
// planSlices (slices.go), planEndpoints (v1.go) and planMirror (mirror.go). Three loops of one
// shape (loop.go) call them. The loops are level based: an event only names a Service, and the
// plan looks at everything that is true about it now.
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
