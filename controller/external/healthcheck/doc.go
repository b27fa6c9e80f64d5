// Package healthcheck decides which endpoints written by hand are probed when and from which node, and which of them are ejected:
// active health checking, as load balancers do it. It is a state machine that only computes. It is told what is true (objects,
// nodes, how probes ended) and what time it is; it answers which probes are due, and which objects differ from what they should
// be.
//
//	spec      what the annotations of a Service ask for
//	endpoint  what is listed in Endpoints and slices, and the mark of those that were ejected
//	state     what is known about each target: thresholds, the last failure
//	queue     which probe is due next
//	prober    which node makes it
//	ejection  which endpoints get no traffic, and the objects that say so
//	monitor   all of it together, for all Services
package healthcheck
