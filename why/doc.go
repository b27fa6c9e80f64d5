// Package why answers "why does my Service have no endpoints, or not answer?" in plain words:
//
//	a Service, its Endpoints and slices, its pods ─> Findings (pure) ─> what is wrong, with which object, and what to do
//	                                                     └─ Controller: an Event on the Service, once
//
// What the API refuses is no matter of this package; these are the mistakes that the API accepts.
//
// A finding that often passes by itself, such as a Service that was applied before its pods, says how long it has to be true
// before it is worth telling. The Controller tells each finding once and is silent until it has been gone. It tells at most a
// few in a second for all Services together, so a cluster in which everything is wrong is not drowned in Events.
package why
