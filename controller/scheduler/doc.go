// Package scheduler gives pods their node.
//
// The decision is placement.Place, a pure function of a pod and the Nodes with what
// is already on them. The loop around it decides for one pod at a time, counts the
// pod on its node at once (before the server and the informer know), and binds in
// the background; nothing waits for a batch. Pods that fit nowhere wait until
// something changes in a way that could help them; what they are told, and who has to leave for them, is
// written by other goroutines (notes.go). Volumes (storage.go) and disruption budgets are watched from when a pod needs them.
package scheduler
