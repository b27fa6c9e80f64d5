// Package ingress makes the rules of an L7 engine of Ingresses: what is served on the nodes' own ports 80 and 443.
//
//	Ingress, its annotations ─> settings ─┐
//	Services, classes ────────────────────┴─> part (its paths by host) ─┐
//	                                   the other parts of a host ───────┴─> route.Host ─> two route.Entries, findings
//
// A Builder keeps the parts and, for a change, makes anew only the parts that it concerns and the hosts that these name; the Entries
// share everything else with those before. What cannot be served as it was written is a Finding, which says what is wrong, with what,
// and what to do; everything else is served.
//
// # What guards closes
//
// An annotation that keeps people out and cannot be done as it is written, because its value is wrong or because it is one of those
// that are not supported, closes the paths of its Ingress: they answer 503. To leave the guard out would open what somebody closed.
// Snippets that do such things close as well. Every other annotation that cannot be done is left out.
//
// # Precedence
//
// Of the rules of a host, exact paths come first, then the longer path before the shorter, of those of one length prefixes by
// element before those by byte and before expressions, and expressions of one length in the reverse order of their text; the default
// backends come last. Of two that are the same, the elder Ingress has it, or the first in the Ingress. It is the order of the Ingress
// specification, and for expressions, whose length is that of their text, ingress-nginx'.
//
// # Annotations
//
// There is one row for each annotation of ingress-nginx (rows in files rows*.go), with what its value does to the settings of an
// Ingress, and how that compares with ingress-nginx. Annotations of an Ingress have effect for its own paths; ingress-nginx makes
// some of them count for the whole host.
package ingress
