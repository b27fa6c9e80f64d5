package l7

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// insteadTimeout is how long the backend may take that answers instead of another.
const insteadTimeout = 10 * time.Second

// present is a target, or the one instead of it where that has no ready endpoint or cannot be used.
func (x *exchange) present(t *target) *target {
	in := x.plan.instead
	if in == nil || t == nil || t.Broken == "" && len(t.pools.Get(t.pool.Key).Endpoints()) > 0 {
		return t
	}
	x.kept = nil
	return in
}

// giveUp answers with a status and a sentence, unless another backend answers instead.
func (x *exchange) giveUp(status int, text string) {
	if !x.substitute(status) {
		x.fail(status, text)
	}
}

// substitute has the backend answer that does so instead of answers with a status, and reports whether it has.
func (x *exchange) substitute(status int) bool {
	in := x.plan.instead
	if in == nil || !slices.Contains(x.plan.Instead.Codes, status) {
		return false
	}
	e := in.pick(&upstream.Choice{Now: time.Now()})
	if e == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), insteadTimeout)
	defer cancel()
	e.Begin()
	defer e.End()
	answer, err := e.Transport(in.dialect).RoundTrip(x.aboutError(in, e, status).WithContext(ctx))
	if err != nil {
		x.log.Debug("an answer was not replaced", "service", in.Service, "endpoint", e.Text, "err", err)
		return false
	}
	defer func() { _ = answer.Body.Close() }() // read as far as is wanted
	x.refuse(answer)
	return true
}

// aboutError is the request about an answer that is not given to the client.
func (x *exchange) aboutError(in *target, e *upstream.Endpoint, status int) *http.Request {
	about := route.HeaderEdit{Set: append([]route.Header{
		{Name: "X-Code", Value: strconv.Itoa(status)}, {Name: "X-Format", Value: x.r.Header.Get("Accept")}, {Name: "X-Original-Uri", Value: x.uri()},
	}, x.plan.Instead.Headers...)}
	h := x.outgoingHeader(about)
	for name := range h { // of a body, of what the client has already, and of the connection
		if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "If-") || slices.Contains([]string{"Range", "Upgrade", "Connection", "Te", "Expect"}, name) {
			delete(h, name)
		}
	}
	editHeader(h, about)
	method := http.MethodGet
	if x.r.Method == http.MethodHead {
		method = http.MethodHead
	}
	return &http.Request{Method: method, Host: x.r.Host, Header: h, URL: &url.URL{Scheme: in.dialect.Scheme(), Host: e.Text, Path: "/"}, Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}
}
