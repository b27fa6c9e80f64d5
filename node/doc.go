// Package node is the agent of one node, in kubelet's place: it runs the pods that the API assigns to the node, probes them, reports
// their status and the node's, and serves logs, exec, attach and port-forward.
//
// The path of a pod, from its object to its status:
//
//	watch      pods.go      the API's pods of this node; each has a pod worker, one goroutine that owns all that is known of the pod
//	relist     relist.go    what the runtime has: exits as they are announced, and a listing of everything every 10 s
//	plan       life.Next    pure: object, runtime, memory and time in; the actions to start now and the time to look again out
//	admission  admission.go what the node refuses, and what has run for too long
//	sandbox    sandbox.go   volumes (package volume), then the sandbox with the pod's network
//	containers container.go, images.go: image, environment, configuration (package spec, pure), creation, start, postStart hook
//	CRI        kuberuntime  every call of the runtime; cri keeps the runtime itself running
//	probes     prober.go    a goroutine for each probe of a running container (package probe); results change the plan
//	status     status.go    life.Status, pure, and a patch of what differs from what the API has
//	end        termination.go: preStop hook, kill, last status, removal of the object, then of everything on the node
//
// Nothing but the worker touches what it knows: calls that take time run beside it and come back through its mailbox. Beside the pods
// there are the node itself (package nodestatus), the API (package server), the rotation of logs (logs.go) and the watch over
// the links of pods (links.go).
package node
