// Package external probes the endpoints of Services without selector, which stand for servers outside of the cluster that
// no kubelet probes, and ejects those that fail from the ready ones until they answer again:
//
//	Service (annotation fairlead.dev/probe) ─┐
//	Endpoints, EndpointSlices by hand ───────┼─> healthcheck (pure) ─> the same objects, with dead addresses not ready
//	nodes, how probes ended ─────────────────┘      │
//	        ^                                       │ probes that are due
//	        └── replies <── the agent of one node per Service, which makes the single probe
//
// What to probe and what to eject is decided by package healthcheck, which also has all state. A probe is made by a node, because
// the traffic leaves from nodes; which node may change at any time and nothing is lost.
//
// The invariant: a person's own word is never overwritten. The annotation fairlead.dev/unhealthy on an object lists the
// addresses that we made not ready; others that are not ready were listed so by a person and are neither probed nor moved.
// The annotation is also all that is stored: a restart goes on from what the objects say.
package external
