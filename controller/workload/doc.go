// Package workload keeps ReplicaSets and Deployments at what their specs ask for.
//
// The rules live in plan functions from data to data (PlanReplicaSet,
// PlanDeployment): no clock, client, logger or lock. One loop per kind reads the
// informers, plans, writes, and writes the status. A plan is computed from the
// cache joined with this process's own newer writes (kube.OwnWrites), so a cache
// that lags behind never makes the loop create or delete twice.
//
// DaemonSet, StatefulSet and Job would be further plan functions beside these.
package workload
