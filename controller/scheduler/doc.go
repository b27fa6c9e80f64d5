// Package scheduler gives pods their node.
//
// The decision is placement.Place, a pure function of a pod and the Nodes with what
// is already on them. The loop around it decides for one pod at a time, counts the
// pod on its node at once (before the server and the informer know), and binds in
// the background; nothing waits for a batch. Pods that fit nowhere wait until a
// node or a pod changes in a way that could help.
package scheduler
