// Package kube is what every controller here is made of: handlers that put keys of objects on a Queue, workers that take
// them from it, caches to read, and Events to tell people.
//
// A handler is told that something happened, a worker finds out what should be: it gets nothing but the key. A key is on the
// queue once and is never worked on twice at the same time. One that fails comes back with a growing pause, for ever.
package kube
