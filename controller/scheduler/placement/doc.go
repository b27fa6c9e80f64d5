// Package placement decides which node a pod goes to: Place, from the pod and the Nodes with what is already on them. It only
// computes.
package placement
