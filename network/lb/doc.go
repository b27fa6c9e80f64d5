// Package lb is the model of load balancing: which addresses a Service answers
// on, and to which endpoints a connection to each of them may go.
//
// Derive turns one Service and its EndpointSlices into Rows as one node sees
// them. It is pure: the same objects and the same node give the same rows, in
// the same order. Everything that programs a kernel or explains a connection
// reads these rows and none of the API objects behind them.
//
// One Service cannot tell which of its addresses another claims as well: Claims
// decides that (P43), change by change.
//
// Expect says the same thing in the other direction, for one packet and by
// plain search through all objects. It shares no code with Derive, so that the
// two can be held against each other.
//
// Rule ids such as P10 name the rows of the catalogue of kube-proxy's
// observable behaviour that the tests are named by.
package lb
