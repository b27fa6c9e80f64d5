package l7

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// hopByHop are headers between two neighbours (RFC 9110, 7.6.1), besides those that Connection names.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization", "Trailer"}

// forwarded are headers by which a proxy says whom it speaks for. What a client says there is not believed, and not passed on.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Real-Ip", "X-Original-Forwarded-For"}

// outgoingHeader is the client's header, as it goes on before some edits.
func (x *exchange) outgoingHeader(edits ...route.HeaderEdit) http.Header {
	h := x.r.Header.Clone()
	upgrade := upgradeOf(h)
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
	x.dropLookalikes(h, edits)
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

// upgradeOf is what a client wants to speak instead on its connection. What brings further requests (HTTP again, or TLS, in which
// nobody sees them) is not asked for: no rule would look at those. RFC 9113, 3.1 has done away with h2c there.
func upgradeOf(h http.Header) string {
	delete(h, "Http2-Settings") // belongs to it
	if !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	var wanted []string
	for word := range strings.SplitSeq(strings.Join(h["Upgrade"], ","), ",") {
		word = textproto.TrimString(word)
		name, _, _ := strings.Cut(strings.ToLower(word), "/")
		if name != "" && name != "h2c" && name != "h2" && name != "http" && name != "tls" {
			wanted = append(wanted, word)
		}
	}
	return strings.Join(wanted, ", ")
}

// dropLookalikes drops names with "_" that would be another with "-" which is not the client's to say: the forwarded ones, those that
// are edited, and those of the authorization's answer. To programs that get headers by way of CGI both are the same (RFC 3875, 4.1.18).
func (x *exchange) dropLookalikes(h http.Header, edits []route.HeaderEdit) {
	for name := range h {
		if !strings.Contains(name, "_") {
			continue
		}
		meant := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		same := func(other string) bool { return http.CanonicalHeaderKey(other) == meant }
		is := slices.Contains(forwarded, meant) || x.plan.External != nil && slices.ContainsFunc(x.plan.External.Copy, same)
		for _, e := range edits {
			is = is || slices.ContainsFunc(e.Remove, same) ||
				slices.ContainsFunc(append(slices.Clip(e.Set), e.Add...), func(h route.Header) bool { return same(h.Name) })
		}
		if is {
			delete(h, name)
		}
	}
}

// settle drops what Connection names, before headers are added that are not the client's to drop; what it asks for stays.
func settle(h http.Header) {
	var stays []string
	for _, word := range []string{"upgrade", "te", "keep-alive", "close"} {
		if hasToken(h["Connection"], word) {
			stays = append(stays, word)
		}
	}
	for line := range strings.SplitSeq(strings.Join(h["Connection"], ","), ",") {
		if name := textproto.TrimString(line); !slices.Contains(stays, strings.ToLower(name)) {
			delete(h, http.CanonicalHeaderKey(name))
		}
	}
	delete(h, "Connection")
	if len(stays) > 0 {
		h["Connection"] = []string{strings.Join(stays, ", ")}
	}
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
