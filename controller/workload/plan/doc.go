// Package plan decides what becomes of Deployments, ReplicaSets and their pods. Its functions only compute, and change nothing
// that they are given: Deployment and ReplicaSet go from objects and the time of day to what to adopt, release, create,
// change and delete, and to the status to write.
//
//	Deployment  deployment.go, its steps in order; rollout.go sizes old and new ReplicaSets, revision.go names and counts
//	            them, progress.go says how far it has come
//	ReplicaSet  replicaset.go; order.go says which pods go first, claim.go what is the owner's
package plan
