// Package kube is what every controller here is made of: handlers that put keys of objects on a Queue, workers that take
// them from it, caches to read, own writes that a cache does not show yet (OwnWrites), and Events to tell people.
//
// A handler is told that something happened, a worker finds out what should be: it gets nothing but the key. A key is on the
// queue once and is never worked on twice at the same time. One that fails comes back with a growing pause, for ever.
//
// Queues are measured as client-go measures them: workqueue_*, by the provider that the API server's library sets for the
// whole process.
package kube
