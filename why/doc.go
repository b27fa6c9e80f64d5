// Package why answers "why does my Service have no endpoints, or not answer?" in plain words:
//
//	a Service, its Endpoints and slices, its pods ─> Findings ─> what is wrong, with which object, and what to do
//
// What the API refuses is no matter of this package; these are the mistakes that the API accepts. It only computes: whoever wants
// to know brings a View, and tells people in his own way. controller/why posts Events.
//
// A finding that often passes by itself, such as a Service that was applied before its pods, says how long it has to be true
// before it is worth telling.
package why
