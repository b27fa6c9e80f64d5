// Package loopback lets a program's own parts be HTTP clients of its server without a network: a request is handed to the
// server's handler, and what that writes is handed back. Sockets, TLS and HTTP/2 framing in between would cost more
// processor time than many of the requests.
package loopback

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
)

// Transport is an http.RoundTripper to a handler in the same process. Its requests look to the handler as if they came
// by HTTP/2 from the loopback address.
type Transport struct {
	// Handler answers the requests.
	Handler http.Handler
	// Certs is the present certificate chain of the client, its own first; nil: none. That the client has the key goes without proof.
	Certs func() []*x509.Certificate
}

var _ http.RoundTripper = &Transport{}

// RoundTrip is part of http.RoundTripper. It returns when the handler has flushed or written its first bytes, or has ended; the
// handler's context ends when the request's does, and when the body of the response is closed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	// What the caller's context carries is none of the server's business.
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(r.Context(), cancel)
	a := newAnswer(ctx, func() { stop(); cancel() })
	go t.serve(a, t.received(ctx, r))
	select {
	case <-a.begun:
	case <-r.Context().Done():
		a.Close()
		return nil, context.Cause(r.Context())
	}
	status, header, err := a.head()
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, ContentLength: -1, Body: a, Request: r,
	}, nil
}

// received is r as a server sees it.
func (t *Transport) received(ctx context.Context, r *http.Request) *http.Request {
	in := &http.Request{
		Method: r.Method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: r.Header.Clone(), Host: r.Host,
		URL:           &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		RequestURI:    r.URL.RequestURI(),
		RemoteAddr:    "127.0.0.1:0",
		ContentLength: r.ContentLength,
		Body:          r.Body,
	}
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Header == nil {
		in.Header = http.Header{}
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if t.Certs != nil {
		in.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: t.Certs()}
	}
	return in.WithContext(ctx)
}

func (t *Transport) serve(a *answer, r *http.Request) {
	defer func() {
		r.Body.Close()
		var err error
		if v := recover(); v != nil { // as net/http does, which spares the other requests
			err = fmt.Errorf("the handler panicked: %v", v)
		}
		a.end(err)
	}()
	t.Handler.ServeHTTP(a, r)
}
