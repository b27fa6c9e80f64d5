package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	l7For    = 2 * time.Second // each measurement
	l7Rounds = 3
)

// l7Case is how clients use a proxy.
type l7Case struct {
	connections int
	secure      bool // TLS
	version     version
	once        bool // a connection carries one request
}

// version is of HTTP.
type version string

const (
	http1 version = "HTTP/1.1"
	http2 version = "HTTP/2"
)

// streams is how many requests a connection of HTTP/2 has under way.
const streams = 8

func l7Cases() []l7Case {
	var all []l7Case
	for _, secure := range []bool{false, true} {
		for _, n := range []int{1, 64, 512} {
			all = append(all, l7Case{connections: n, secure: secure, version: http1})
		}
	}
	all = append(all, l7Case{connections: 64, version: http1, once: true}, l7Case{connections: 64, secure: true, version: http1, once: true})
	for _, n := range []int{1, 16, 64} { // each beside HTTP/1.1 with as many requests under way, of which a connection has one
		if same := (l7Case{connections: n * streams, secure: true, version: http1}); !slices.Contains(all, same) {
			all = append(all, same)
		}
		all = append(all, l7Case{connections: n, secure: true, version: http2})
	}
	return all
}

func (c l7Case) String() string {
	text := fmt.Sprintf("%s, %d connections", c.version, c.connections)
	if c.connections == 1 {
		text = fmt.Sprintf("%s, one connection", c.version)
	}
	if c.secure {
		text += ", TLS"
	}
	if c.version == http2 {
		text += fmt.Sprintf(", %d requests under way in each", streams)
	}
	if c.once {
		text += ", a new one for each request"
	}
	return text
}

// l7 measures the L7 engine beside nginx and HAProxy, which serve the same route: a client, the proxies and a backend each
// in a network namespace. They take turns, so that what else the machine does falls on all alike.
func (options) l7(ctx context.Context, _ int) (rows []row, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer r.remove()
	for _, c := range l7Cases() {
		m, err := r.measure(ctx, c)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c, err)
		}
		rows = append(rows, m.row("requests over "+c.String()))
		if c.connections == 512 && !c.secure {
			rows = append(rows, m.memory(fmt.Sprintf("memory (PSS) while %d connections are used", c.connections)))
		}
	}
	return rows, nil
}

// served is what a proxy did under load.
type served struct {
	requests, failed int
	took, cpu        time.Duration
	p50, p99         []time.Duration // of each round
	memory           int             // at most, in bytes
}

// each is the processor time of a request in microseconds.
func (s *served) each() float64 { return float64(s.cpu.Microseconds()) / float64(max(s.requests, 1)) }

func (s *served) rate() int { return int(float64(s.requests) / max(s.took.Seconds(), 1e-3)) }

func (s *served) String() string {
	text := fmt.Sprintf("%s/s, %.1f us each, p50 %s, p99 %s", thousands(s.rate()), s.each(), show(median(s.p50)), show(median(s.p99)))
	if s.failed > 0 {
		text += fmt.Sprintf(", %d failed", s.failed)
	}
	return text
}

// add notes one more round.
func (s *served) add(more served) {
	s.requests, s.failed, s.took, s.cpu = s.requests+more.requests, s.failed+more.failed, s.took+more.took, s.cpu+more.cpu
	s.p50, s.p99 = append(s.p50, more.p50...), append(s.p99, more.p99...)
	s.memory = max(s.memory, more.memory)
}

// turns is what each target of a rig did in one case.
type turns map[string]*served

func (r *rig) measure(ctx context.Context, c l7Case) (turns, error) {
	all := turns{}
	for range l7Rounds {
		for _, t := range r.targets {
			if !t.takes(c) {
				continue
			}
			got, err := r.load(ctx, t, c, l7For)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			if all[t.name] == nil {
				all[t.name] = &served{}
			}
			all[t.name].add(got)
		}
	}
	return all, nil
}

// row compares: HAProxy is what the engine's processor time is held to.
func (t turns) row(what string) row {
	ours := t[engineName]
	kept := ours.failed == 0 && ours.each() <= t[haproxyName].each()
	return row{what, ours.String(), t.others((*served).String), held("processor time <= HAProxy's", kept)}
}

func (t turns) memory(what string) row {
	show := func(s *served) string { return fmt.Sprintf("%d MB", s.memory>>20) }
	return row{what, show(t[engineName]), t.others(show), budget{}}
}

// others are the targets besides the engine, in the order of their names.
func (t turns) others(show func(*served) string) string {
	var names []string
	for name := range t {
		if name != engineName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := ""
	for _, name := range names {
		text += name + ": " + show(t[name]) + "; "
	}
	return text[:max(len(text)-2, 0)]
}
