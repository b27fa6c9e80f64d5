// Package admission is the chain of plugins that every write passes: upstream's, in upstream's order, and our own in their places.
//
// Plugins of k8s.io/apiserver work on the versioned objects of this server; those of k8s.io/kubernetes work on upstream's internal
// types, to which internal.go converts what they handle, and back. A plugin whose objects are few and mostly none at all is asleep
// until there is one (asleep.go).
package admission
