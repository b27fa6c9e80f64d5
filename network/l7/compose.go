package l7

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/http2"
	"fairlead.dev/fairlead/network/l7/route"
)

// composeRequest appends the request that the lane has read as the endpoint gets it: its head, and what is there of its body.
func (l *lane) composeRequest(b []byte, s *session) []byte {
	r, from := &l.request, s.in
	b = append(append(b, r.Method...), ' ')
	host := ""
	path, rewritten := "", false
	for _, by := range [...]*route.Rewrite{s.plan.Rewrite, s.target.Rewrite} {
		if by == nil {
			continue
		}
		if by.Host != "" {
			host = by.Host
		}
		if by.Path != nil {
			normal, _ := route.NormalPath(text(r.Path)) // it was one before
			path, rewritten = rewritePath(normal, &s.rule.Match.Path, by.Path), true
		}
	}
	if rewritten {
		b = append(b, path...)
	} else {
		b = append(b, r.Path...)
	}
	if r.HasQuery {
		b = append(append(b, '?'), r.Query...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	if host != "" {
		b = append(append(append(b, "Host: "...), host...), "\r\n"...)
	}
	b = passFields(b, from, r.Fields, func(f *http1.Field) bool {
		return f.Kind != http1.Hop && !(f.Kind == http1.Host && host != "") && !dropped(s.target.request.drop, f.Name(from))
	})
	b = append(append(b, s.prelude()...), r.Host...)
	b = append(b, "\r\n"...)
	if r.ID == nil {
		b = append(b, "X-Request-Id: "...)
		b = appendHex(appendHex(b, rand.Uint64()), rand.Uint64())
		if s.line != nil {
			s.line.ID = string(b[len(b)-32:])
		}
		b = append(b, "\r\n"...)
	}
	b = append(append(b, s.target.request.lines...), "\r\n"...)
	return append(b, from[r.Size:s.used]...)
}

// passFields appends the fields that are passed on, each as it was read, those that follow each other at once.
func passFields(b, from []byte, fields []http1.Field, pass func(*http1.Field) bool) []byte {
	start, end := 0, 0
	for i := range fields {
		f := &fields[i]
		if !pass(f) {
			continue
		}
		if f.Start != end {
			b = append(b, from[start:end]...)
			start = f.Start
		}
		end = f.End
	}
	return append(b, from[start:end]...)
}

func dropped(names []string, name []byte) bool {
	for _, n := range names {
		if http1.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// prelude is what every request of a connection says about its client, and the beginning of the line about its host.
func (s *session) prelude() []byte {
	if s.lines == nil {
		c := s.conn
		client, scheme := c.client.Addr().String(), schemeOf(c)
		s.lines = []byte("X-Forwarded-For: " + client + "\r\nX-Real-Ip: " + client + "\r\nX-Forwarded-Port: " + strconv.Itoa(int(c.point.Port)) +
			"\r\nX-Forwarded-Proto: " + scheme + "\r\nX-Forwarded-Scheme: " + scheme + "\r\nX-Forwarded-Host: ")
	}
	return s.lines
}

func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

// composeAnswer appends the head of an answer as the client gets it.
func (l *lane) composeAnswer(b, from []byte, s *session) []byte {
	r := &l.response
	b = append(append(b, "HTTP/1.1"...), from[len("HTTP/1.1"):r.Start]...)
	b = passFields(b, from, r.Fields, func(f *http1.Field) bool {
		return f.Kind != http1.Hop && !dropped(s.target.response.drop, f.Name(from))
	})
	if !r.Server {
		b = append(b, "Server: fairlead\r\n"...)
	}
	if !r.Date {
		b = append(b, l.date.at(l.now)...)
	}
	if s.last {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(append(b, s.target.response.lines...), "\r\n"...)
}

// composeFields appends the fields of an answer as a client of HTTP/2 gets them.
func (l *lane) composeFields(b, from []byte, s *session) []byte {
	r := &l.response
	b = http2.AppendStatus(b, r.Status)
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Kind != http1.Hop && f.Kind != http1.Encoding && !dropped(s.target.response.drop, f.Name(from)) &&
			!(r.Length == 0 && http1.EqualFold(f.Name(from), "trailer")) {
			b = http2.AppendField(b, text(f.Name(from)), f.Value(from))
		}
	}
	if !r.Server {
		b = http2.AppendField(b, "server", "fairlead")
	}
	if !r.Date {
		b = l.dated(b)
	}
	return append(b, s.target.response.block...)
}

// dated appends the field Date.
func (l *lane) dated(b []byte) []byte {
	line := l.date.at(l.now)
	return http2.AppendField(b, "date", line[len("Date: "):len(line)-len("\r\n")])
}

// edits are changes of a head as a lane makes them: the names that go, in lower case, and the lines that come.
type edits struct {
	drop  []string
	lines []byte
	block []byte // as lines, in HTTP/2
}

// own are the names that a lane writes, or that say how messages are framed: who edits them needs net/http.
var own = map[string]bool{
	"Host": true, "Connection": true, "Upgrade": true, "Transfer-Encoding": true, "Content-Length": true, "Te": true, "Trailer": true,
	"Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "X-Request-Id": true, "Server": true, "Date": true, "Expect": true,
}

// editsOf are edits after each other; false if a lane cannot make them.
func editsOf(list ...route.HeaderEdit) (e edits, ok bool) {
	h := http.Header{}
	var order []string
	note := func(name string, gone bool) bool {
		if gone {
			e.drop = append(e.drop, strings.ToLower(name))
		}
		order = append(order, name)
		return !own[name] && !slices.Contains(forwarded, name)
	}
	ok = true
	for _, edit := range list {
		for _, name := range edit.Remove {
			ok = note(name, true) && ok
		}
		for _, s := range edit.Set {
			ok = note(s.Name, true) && safe(s) && ok
		}
		for _, a := range edit.Add {
			ok = note(a.Name, false) && safe(a) && ok
		}
		editHeader(h, edit)
	}
	for _, name := range order {
		for _, v := range h[name] {
			e.lines = append(e.lines, name+": "+v+"\r\n"...)
			e.block = http2.AppendField(e.block, name, v)
		}
		delete(h, name)
	}
	return e, ok
}

func safe(h route.Header) bool {
	return httpguts.ValidHeaderFieldName(h.Name) && httpguts.ValidHeaderFieldValue(h.Value)
}
