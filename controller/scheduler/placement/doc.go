// Package placement decides which node a pod goes to: Place, from the pod and the Cluster as it is, and Preempt, which pods of lower
// priority make room when there is none. It only computes.
//
// The rules are Kubernetes' own, by its scheduler's order, weights and words: filters says which nodes will do, scorers which of
// them is best. A rule that has no say about a pod is asked once, not once a node.
package placement
