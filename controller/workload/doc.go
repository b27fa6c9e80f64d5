// Package workload keeps ReplicaSets and Deployments at what their specs ask for.
//
// The rules live in package plan, functions from data to data: no clock, client,
// logger or lock. watch.go turns events into keys; one loop per kind
// (deployment_loop.go, replicaset_loop.go) reads the informers, plans, writes, and
// writes the status. A plan is computed from the
// cache joined with this process's own newer writes (kube.OwnWrites), so a cache
// that lags behind never makes the loop create or delete twice.
//
// DaemonSet, StatefulSet and Job would be further functions in plan.
package workload
