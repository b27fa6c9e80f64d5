// Package http1 reads heads of HTTP/1.1 messages where they lie, and follows
// chunked bodies, for a proxy that passes most of their bytes on as they are.
//
// It accepts what nobody reads in two ways, and only that (RFC 9112): a request
// that is odd in any respect is not refused here but left to a complete
// implementation, with all its bytes. So this package knows nothing of upgrades,
// of Expect, of chunked requests or of HTTP/1.0, and a mistake in reading them
// cannot be made.
package http1
