// Package registry holds what the API server knows about each kind it stores: its defaults, its validation, the
// rules for creating, changing and deleting it, the columns kubectl prints, and the subresources that belong to it.
//
// Every kind is one row (see kind), written in a file of its own; the machinery that turns a row into REST storage
// is in store.go and strategy.go. The versioned Go types of k8s.io/api are the hub: there are no internal types and
// so no conversions between them (the direction upstream takes with KEP-6164). Rules are upstream's, and the
// comments name the catalogue id (for example "rule S23") under which the tests check them.
package registry
