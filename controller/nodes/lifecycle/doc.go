// Package lifecycle decides what becomes of nodes and of the pods on them. It only computes:
//
//	health       when a node whose agent is silent is Unknown, and which taints follow from its state
//	eviction     when a pod leaves a tainted node
//	cidr         which range of pod addresses a node gets
//	nameservers  the endpoints of the cluster's DNS Service
//	gap          whether this process has watched without interruption, so that silence is evidence
package lifecycle
