package l7

import (
	"context"
	"io"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// Bounds of copies, which must not harm what is copied.
const (
	mirrorTimeout = 30 * time.Second
	mostMirrored  = 1024 // under way at once; more are left out
)

// copyToMirrors sends copies of the request. Nobody waits for them, and their answers are dropped.
func (x *exchange) copyToMirrors(t *target, b *body) {
	for _, list := range [][]mirror{x.plan.mirrors, t.mirrors} {
		for i := range list {
			if m := &list[i]; m.wanted() && m.target.Broken == "" && b.repeatable() {
				x.mirror(m, b)
			}
		}
	}
}

func (x *exchange) mirror(m *mirror, b *body) {
	e := m.target.pick(&upstream.Choice{Now: time.Now()})
	if e == nil {
		return
	}
	if x.mirrored.Add(1) > mostMirrored {
		x.mirrored.Add(-1)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), mirrorTimeout)
	p := newPulse(&route.Timeouts{}, cancel)
	out := x.outgoing(ctx, &m.target, e, b, p)
	out = out.WithContext(ctx) // what it says before its answer is dropped as well
	transport := e.Transport(m.target.dialect)
	e.Begin()
	go func() {
		defer func() {
			x.mirrored.Add(-1)
			e.End()
			p.stop()
			cancel()
		}()
		answer, err := transport.RoundTrip(out)
		if err != nil {
			x.log.Debug("a copy of a request was not delivered", "service", m.target.Service, "err", err)
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostRepeated)) // so that the connection can be kept
		_ = answer.Body.Close()
	}()
}
