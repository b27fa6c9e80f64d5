package l7

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// defaultTries is how many other endpoints are tried when connections cannot be made, unless an Action says otherwise.
const defaultTries = 2

// attempt is one request to one endpoint.
type attempt struct {
	target   *target
	endpoint *upstream.Endpoint
	response *http.Response
	err      error
	pulse    *pulse
	ctx      context.Context
	cancel   context.CancelFunc
}

// end is when nothing more is wanted of it.
func (a *attempt) end() {
	if a.response != nil {
		_ = a.response.Body.Close() // read or not
	}
	a.pulse.stop()
	a.cancel()
	a.endpoint.End()
}

// forward sends the request to a backend, and its answer to the client.
func (x *exchange) forward() {
	t := x.destination()
	if t == nil {
		return
	}
	ctx := x.r.Context()
	if d := x.plan.Timeouts.Request; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, x.begin.Add(d), errTimeout)
		defer cancel()
	}
	body, problem := x.takeBody(t)
	if problem != nil {
		x.fail(problem.status, problem.text)
		return
	}
	x.copyToMirrors(t, body)
	if x.r.ProtoMajor == 1 && body.length != 0 {
		_ = http.NewResponseController(x.w).EnableFullDuplex() // the server can
	}
	a := x.try(ctx, t, body)
	if a == nil {
		return // answered
	}
	defer a.end()
	if a.response.StatusCode == http.StatusSwitchingProtocols {
		x.switchProtocols(a)
		return
	}
	if !x.substitute(a.response.StatusCode) {
		x.relay(a)
	}
}

// destination chooses the backend; where there is none the request is answered.
func (x *exchange) destination() *target {
	t := x.sticky()
	if t == nil {
		t = x.plan.choose()
	}
	t = x.present(t)
	switch {
	case t == nil && len(x.plan.targets) == 0:
		x.fail(http.StatusInternalServerError, "the route has no backend")
	case t == nil:
		x.fail(http.StatusServiceUnavailable, "no backend of the route has a weight")
	case t.Broken != "":
		x.giveUp(cmp.Or(t.Status, http.StatusInternalServerError), "the backend of the route cannot be used: "+t.Broken)
		return nil
	default:
		x.service = t.Service
	}
	return t
}

// try sends the request to one endpoint after the other until one has an answer that is good enough, or no more may be tried; then
// the request is answered, and it returns nil.
func (x *exchange) try(ctx context.Context, t *target, body *body) *attempt {
	retry := &x.plan.Retry
	choice := upstream.Choice{Kind: x.plan.Balance.Kind}
	if choice.Kind == route.Hashed {
		choice.Hash = upstream.Hash(x.expand(x.plan.Balance.HashBy))
	}
	for tries := 0; ; tries++ {
		if tries > 0 && retry.Backoff > 0 && !sleep(ctx, retry.Backoff) {
			x.failed(ctx, t, context.Cause(ctx))
			return nil
		}
		e := x.kept
		if choice.Now = time.Now(); e == nil || tries > 0 {
			e = t.pick(&choice)
		}
		if e == nil && tries > 0 {
			choice.Not = nil // every endpoint was tried: again
			e = t.pick(&choice)
		}
		if e == nil {
			x.giveUp(http.StatusServiceUnavailable, fmt.Sprintf("Service %s has no ready endpoint for its port %d", t.Service, t.Port))
			return nil
		}
		a := x.send(ctx, t, e, body)
		x.tries++
		if a.err == nil && !slices.Contains(retry.Codes, a.response.StatusCode) {
			return a
		}
		choice.Not = append(choice.Not, e)
		again := !x.outOfTries(ctx, tries, a) && x.mayRepeat(a, body)
		if !again && a.err == nil {
			return a // the best there is
		}
		err := a.err
		a.end()
		if !again {
			x.failed(ctx, t, err)
			return nil
		}
		x.metrics.retries.Inc()
	}
}

func (x *exchange) outOfTries(ctx context.Context, tries int, a *attempt) bool {
	retry := &x.plan.Retry
	most := retry.Tries
	if connect := new(upstream.ConnectError); most == 0 && errors.As(a.err, &connect) {
		most = defaultTries
	}
	return retry.Never || tries >= most || ctx.Err() != nil || retry.Deadline > 0 && time.Since(x.begin) > retry.Deadline
}

// mayRepeat reports whether the request may be sent again: that nothing of it was sent, or that it does no harm and is wanted.
func (x *exchange) mayRepeat(a *attempt, body *body) bool {
	if connect := new(upstream.ConnectError); errors.As(a.err, &connect) {
		return body.untouched()
	}
	retry := &x.plan.Retry
	if !body.repeatable() || !retry.Unsafe && !idempotent(x.r.Method) {
		return false
	}
	switch {
	case a.err == nil: // a code that is to be tried again
		return true
	case timedOut(a.err):
		return retry.OnSlow
	}
	return retry.OnError
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// send makes one attempt.
func (x *exchange) send(ctx context.Context, t *target, e *upstream.Endpoint, body *body) *attempt {
	timeouts := &x.plan.Timeouts
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{target: t, endpoint: e, ctx: ctx, cancel: func() { cancel(context.Canceled) }}
	a.pulse = newPulse(timeouts, func() { cancel(errTimeout) })
	x.endpoint = e.Text
	e.Begin()
	out := x.outgoing(ctx, t, e, body, a.pulse)
	a.response, a.err = e.Transport(t.dialect).RoundTrip(out)
	a.pulse.sent()
	x.metrics.connected(t.Service, a.err)
	if a.err != nil && context.Cause(ctx) != nil && x.r.Context().Err() == nil {
		a.err = context.Cause(ctx)
	}
	return a
}

// outgoing is the request as the endpoint gets it.
func (x *exchange) outgoing(ctx context.Context, t *target, e *upstream.Endpoint, body *body, p *pulse) *http.Request {
	host, path := x.r.Host, x.path
	for _, by := range []*route.Rewrite{x.plan.Rewrite, t.Rewrite} {
		if by != nil {
			path = x.rewrite(path, by.Path)
			if by.Host != "" {
				host = by.Host
			}
		}
	}
	out := &http.Request{
		Method: x.r.Method, Host: host, Header: x.outgoingHeader(x.plan.Request, t.Request), URL: x.urlOf(t.dialect.Scheme(), e.Text, path),
		ContentLength: body.length, Trailer: x.r.Trailer, ProtoMajor: 1, ProtoMinor: 1,
	}
	editHeader(out.Header, x.plan.Request)
	editHeader(out.Header, t.Request)
	if h := out.Header["Host"]; len(h) > 0 { // of an edit
		out.Host = h[0]
		delete(out.Header, "Host")
	}
	if _, is := out.Header["User-Agent"]; !is {
		out.Header["User-Agent"] = []string{""} // net/http would say its own
	}
	out.Body = body.reader(p)
	return out.WithContext(x.tracing(ctx))
}

// urlOf is the URL of a path that is sent as it is.
func (x *exchange) urlOf(scheme, addr, path string) *url.URL {
	u := &url.URL{Scheme: scheme, Host: addr, Opaque: path, RawQuery: x.query, ForceQuery: x.r.URL.ForceQuery}
	if strings.HasPrefix(path, "//") { // net/http would make an absolute one of it
		u.Opaque = ""
		if plain, err := url.PathUnescape(path); err == nil {
			u.Path, u.RawPath = plain, path
		} else {
			u.Path = path
		}
	}
	return u
}

// failed answers a request that no endpoint has answered.
func (x *exchange) failed(ctx context.Context, t *target, err error) {
	x.log.Debug("a request failed", "service", t.Service, "endpoint", x.endpoint, "err", err)
	tooLarge := new(http.MaxBytesError)
	connect, bad := new(upstream.ConnectError), new(bodyError)
	switch {
	case x.r.Context().Err() != nil:
		x.w.status = statusClientGone
	case errors.As(err, &tooLarge):
		x.fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body of the request may have %d bytes", tooLarge.Limit))
	case timedOut(err) || timedOut(context.Cause(ctx)):
		x.giveUp(http.StatusGatewayTimeout, fmt.Sprintf("Service %s took too long to answer", t.Service))
	case errors.As(err, &bad):
		x.fail(http.StatusBadRequest, "the body of the request cannot be read")
	case errors.As(err, &connect):
		x.giveUp(http.StatusBadGateway, fmt.Sprintf("no connection to an endpoint of Service %s could be made", t.Service))
	default:
		x.giveUp(http.StatusBadGateway, fmt.Sprintf("an endpoint of Service %s did not answer in HTTP", t.Service))
	}
}

// statusClientGone is what the log has for a request whose client did not wait, as with nginx.
const statusClientGone = 499

var (
	errTimeout    = errors.New("it took too long")
	errNoEndpoint = errors.New("the Service has no ready endpoint")
)

func timedOut(err error) bool {
	return errors.Is(err, errTimeout) || errors.Is(err, context.DeadlineExceeded)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
