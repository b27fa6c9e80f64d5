// Package plan decides which EndpointSlices and Endpoints to write for a Service. Its functions only
// compute, and change nothing that they are given: from objects as they are to the writes that are
// missing.
//
//	Slices     slices.go, its steps in order; pack.go distributes endpoints over slices, hints.go and
//	           topology.go say which zones they are for, build.go makes the objects to write
//	Mirror     mirror.go: slices that say what Endpoints written by hand say, packed in the same way
//	Endpoints  endpoints.go: the one object of the Service's name; subsets.go brings it into order
package plan
