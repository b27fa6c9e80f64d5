package l7

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// authTimeout is how long the server of an ExternalAuth may take.
const authTimeout = 10 * time.Second

func newOutside(may func(netip.Addr) bool) *http.Client {
	if may == nil {
		may = elsewhere
	}
	dialer := &net.Dialer{Timeout: upstream.ConnectTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && !may(at.Addr().Unmap()) {
			err = fmt.Errorf("%s is an address that only the node itself may ask", at.Addr())
		}
		return err
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: authTimeout, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// elsewhere is not the node's own loopback, nor link-local, where clouds tell machines their credentials. Who writes an object
// need not be trusted with either, whatever name leads there.
func elsewhere(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// authorized asks the server of an ExternalAuth about the request.
func (x *exchange) authorized() bool {
	a := x.plan.External
	if a == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), authTimeout)
	defer cancel()
	answer, err := x.ask(ctx, a)
	if err != nil {
		x.log.Warn("the authorization server was not reached", "rule", x.rule.Source, "err", err)
		x.fail(http.StatusInternalServerError, "the authorization server was not reached")
		return false
	}
	defer func() { _ = answer.Body.Close() }() // read as far as is wanted
	switch {
	case answer.StatusCode/100 == 2:
		settle(x.r.Header)
		for _, name := range a.Copy {
			if values := answer.Header.Values(name); len(values) > 0 {
				x.r.Header[http.CanonicalHeaderKey(name)] = values
			} else {
				x.r.Header.Del(name) // what the client claims there is not the server's word
			}
		}
		for _, c := range answer.Header["Set-Cookie"] {
			x.w.Header().Add("Set-Cookie", c)
		}
		return true
	case answer.StatusCode == http.StatusUnauthorized && a.SignIn != "":
		x.w.Header().Set("Location", x.expand(a.SignIn))
		x.respond(http.StatusFound, "")
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		x.refuse(answer)
	default:
		x.log.Warn("the authorization server gave an answer that is none", "rule", x.rule.Source, "status", answer.StatusCode)
		x.fail(http.StatusInternalServerError, "the authorization server gave neither a yes nor a no")
	}
	return false
}

// refuse gives the server's answer to the client.
func (x *exchange) refuse(answer *http.Response) {
	dropHopByHop(answer.Header)
	h := x.w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	x.w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(x.w, answer.Body) // what of it is there
}

// ask makes the request about the request: its headers without its body, and where it was going.
func (x *exchange) ask(ctx context.Context, a *route.ExternalAuth) (*http.Response, error) {
	place, err := url.Parse(x.expand(a.URL))
	if err != nil {
		return nil, err
	}
	method := a.Method
	if method == "" {
		method = http.MethodGet
	}
	header := x.outgoingHeader()
	for _, name := range []string{"Content-Length", "Upgrade", "Connection", "Te"} {
		header.Del(name)
	}
	original := x.scheme() + "://" + x.r.Host + x.uri()
	header["X-Original-Url"], header["X-Original-Method"] = []string{original}, []string{x.r.Method}
	header["X-Auth-Request-Redirect"] = []string{x.uri()}
	for _, h := range a.Headers {
		header[h.Name] = []string{x.expand(h.Value)}
	}
	out := (&http.Request{Method: method, URL: place, Host: place.Host, Header: header, Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	t := x.plan.external
	if t == nil {
		return x.outside.Do(out)
	}
	e := t.pick(&upstream.Choice{Now: time.Now()})
	if e == nil {
		return nil, errNoEndpoint
	}
	place.Scheme, place.Host = t.dialect.Scheme(), e.Text
	if out.Host == "" {
		out.Host = x.r.Host
	}
	e.Begin()
	defer e.End()
	return e.Transport(t.dialect).RoundTrip(out)
}
