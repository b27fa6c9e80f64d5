// Package why posts what is wrong with a Service as an Event on it:
//
//	Services, Endpoints, slices, pods, nodes ─> a View of one Service ─> why.Findings (pure) ─> an Event, once
//
// A finding is reported when it has been true for as long as it says, once, and again only after it has been gone. All Services
// together have a few Events in a second, so a cluster in which everything is wrong is not drowned in them.
package why
