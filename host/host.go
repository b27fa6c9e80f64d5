// Package host is what Fairlead knows about the machine it runs on: whether
// it can run there (Check), what it has changed there and how to take that
// back (Journal), and what the machine looks like, so that before and after
// can be compared (Trace).
package host
