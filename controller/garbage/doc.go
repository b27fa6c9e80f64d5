// Package garbage removes what nobody owns any more and empties namespaces that
// are being deleted; it also gives each namespace its default ServiceAccount and
// the cluster's certificate authority.
//
// Garbage is decided by ownership.Decide, a pure function of an object and what became of
// its owners. The collector keeps no graph: every informer has an index by owner
// UID, and an owner that is not in a cache is looked up on the server, so an
// object is only deleted when the server itself said that its owners are gone.
// Everything is driven by watch events.
package garbage
