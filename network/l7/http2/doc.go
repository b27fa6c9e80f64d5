// Package http2 reads and writes what HTTP/2 consists of (RFC 9113): frames
// where they lie, the fields of a request as the head of an HTTP/1.1 message,
// and the fields of an answer in HPACK (RFC 7541), for a proxy that speaks
// HTTP/1.1 to what is behind it.
//
// What a frame or a request must not be is found here; what it means for a
// connection and its streams is the caller's.
package http2
