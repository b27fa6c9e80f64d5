package l7

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
)

// hopByHop are headers between two neighbours (RFC 9110, 7.6.1), besides those that Connection names.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization", "Trailer"}

// forwarded are headers by which a proxy says whom it speaks for. What a client says there is not believed, and not passed on.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Real-Ip", "X-Original-Forwarded-For"}

// outgoingHeader is the client's header, as it goes on.
func (x *exchange) outgoingHeader() http.Header {
	h := x.r.Header.Clone()
	upgrade := ""
	if hasToken(h["Connection"], "upgrade") {
		upgrade = h.Get("Upgrade")
	}
	trailers := hasToken(h["Te"], "trailers")
	dropHopByHop(h)
	if upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	for _, name := range forwarded {
		delete(h, name)
	}
	client := x.conn.client.Addr().String()
	for _, f := range [...]struct{ name, value string }{
		{"X-Forwarded-For", client}, {"X-Real-Ip", client}, {"X-Forwarded-Host", x.r.Host},
		{"X-Forwarded-Port", x.port()}, {"X-Forwarded-Proto", x.scheme()}, {"X-Forwarded-Scheme", x.scheme()},
	} {
		h[f.name] = []string{f.value}
	}
	if x.id = h.Get("X-Request-Id"); x.id == "" {
		x.id = newID()
		h["X-Request-Id"] = []string{x.id}
	}
	return h
}

// port is the one that the client has dialled.
func (x *exchange) port() string { return strconv.Itoa(int(x.conn.point.Port)) }

// newID names a request.
func newID() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name)))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for word := range strings.SplitSeq(line, ",") {
			word, _, _ = strings.Cut(word, ";")
			if strings.EqualFold(textproto.TrimString(word), token) {
				return true
			}
		}
	}
	return false
}

// tracing has the endpoint's answers before the answer (100 Continue, 103 Early Hints) go to the client.
func (x *exchange) tracing(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusContinue {
				return nil // the server says so itself when the body is wanted
			}
			h := x.w.Header()
			for name, values := range header {
				h[name] = values
			}
			x.w.WriteHeader(code)
			for name := range header {
				delete(h, name)
			}
			return nil
		},
	})
}
