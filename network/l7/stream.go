package l7

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// stream passes a connection on as bytes, to a backend by weight. Where there is none the client's is closed.
func (e *Engine) stream(c *connection, s *route.Stream, sni string) {
	_ = c.SetDeadline(time.Time{}) // silence is no fault
	if s == nil {
		e.log.Debug("no route for a connection", "point", c.point, "sni", sni)
		return
	}
	p := e.streamPlan(s)
	t := p.choose()
	if t == nil || t.Broken != "" {
		e.log.Debug("a connection has no backend", "route", s.Source, "client", c.client)
		return
	}
	backend, endpoint := e.connect(t)
	if backend == nil {
		e.log.Debug("no endpoint for a connection", "service", t.Service, "client", c.client)
		return
	}
	defer endpoint.End()
	defer func() { _ = backend.Close() }() // both have ended
	e.metrics.streams.WithLabelValues(t.Service.Namespace, t.Service.Name).Inc()
	if len(c.before) > 0 {
		if _, err := backend.Write(c.before); err != nil {
			return
		}
	}
	join(c.Conn, backend) // between sockets the kernel moves the bytes
}

// connect opens a connection to an endpoint of a target, trying others when that fails.
func (e *Engine) connect(t *target) (net.Conn, *upstream.Endpoint) {
	choice := upstream.Choice{}
	for range defaultTries + 1 {
		choice.Now = time.Now()
		endpoint := t.pick(&choice)
		if endpoint == nil {
			return nil, nil
		}
		conn, err := endpoint.Dial(context.Background(), t.dialect.Connect)
		e.metrics.connected(t.Service, err)
		if err == nil && t.dialect.TLS != nil {
			secure := tls.Client(conn, t.dialect.TLS)
			if err = secure.Handshake(); err != nil {
				_ = conn.Close()
			}
			conn = secure
		}
		if err == nil {
			endpoint.Begin()
			return conn, endpoint
		}
		choice.Not = append(choice.Not, endpoint)
	}
	return nil, nil
}

// streamPlan is the plan of a stream: that of a rule which has its backends.
func (e *Engine) streamPlan(s *route.Stream) *plan {
	now := e.table.Load()
	if p, ok := now.plans.Load(s); ok {
		return p.(*plan)
	}
	p, _ := now.plans.LoadOrStore(s, e.newPlan(&route.Rule{Source: s.Source, Action: route.Action{Backends: s.Backends}}))
	return p.(*plan)
}
