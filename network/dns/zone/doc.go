// Package zone is what the cluster's name server says, as data: a Zone is made of Services and their EndpointSlices, a Request is
// read from a message, and a Zone writes the Response to it, or says who has to be asked.
//
//	Services, slices -> derive, per Service -> Builder -> Zone
//	message -> Request -> Zone.Respond -> Response, or Forward, Chase
//
// It only computes: it reaches no network, no client of the API and no clock, so every rule is tested by calling it.
package zone
