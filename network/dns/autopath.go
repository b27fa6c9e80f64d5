package dns

import (
	"context"
	"net/netip"
	"slices"
)

// maxSearches bounds what is tried for one question: the limit of a pod's resolv.conf.
const maxSearches = 32

// searchList is the names a client will ask for next if the zone denies the one it asks for now: its search
// list's other domains in their order, then the name itself. There are none when the client is not known, or
// does not seem to search, or would not take an address for an answer.
func (s *Server) searchList(r *request, w *response, peer netip.Addr) []name {
	if s.cfg.Searches == nil || !w.aa || w.buf[3]&0xf != rcodeNXDomain || r.typ != typeA && r.typ != typeAAAA {
		return nil
	}
	searches := s.cfg.Searches(peer)
	if len(searches) == 0 || len(searches) > maxSearches {
		return nil
	}
	first, ok := parseName(searches[0])
	n := name(r.name)
	if !ok || len(n) <= len(first) || n[len(n)-len(first):] != first {
		return nil
	}
	labels := n[:len(n)-len(first)]
	if !endsLabel(labels) {
		return nil
	}
	var list []name
	for _, domain := range append(slices.Clone(searches[1:]), ".") {
		if below, ok := parseName(domain); ok && len(labels)+len(below) <= maxName {
			list = append(list, labels+below)
		}
	}
	return list
}

// endsLabel reports whether the labels fill n, rather than the last one being cut.
func endsLabel(n name) bool {
	for len(n) > 0 {
		if len(n) < 1+int(n[0]) {
			return false
		}
		n = n[1+n[0]:]
	}
	return true
}

// completeSearch asks for one candidate after the other, on behalf of a client that would do so itself, and sends the
// answer about the first that exists, as an alias of the name asked for. Without one it sends denial, and so
// it does when upstream servers do not answer: the client walks then. (CoreDNS's autopath plugin.)
func (s *Server) completeSearch(asking context.Context, e *pendingQuery, list []name, denial []byte, send func([]byte)) {
	for i, n := range list {
		z := s.zone.Load()
		alias := &node{alias: n, sets: []rrset{dataSet(typeCNAME, ttl, string(n))}}
		w := response{buf: make([]byte, 0, minUDP)}
		if z.holds(n) {
			if z.find(n) == nil && z.located(n) == nil {
				continue
			}
			w.begin(&e.request, e.limit)
			w.aa = true
			if z.follow(&e.request, &w, alias) == reply {
				send(w.buf)
				return
			}
			e.response = w
			s.forward.ask(asking, e.question(w.alias), func(answer []byte) { send(e.append(answer)) })
			return
		}
		w.begin(&e.request, e.limit)
		w.put(&alias.sets[0], headerSize)
		e.response = w
		rest := list[i+1:]
		s.forward.ask(asking, e.question(n), func(answer []byte) {
			switch {
			case answer == nil || !settles(answer):
				send(denial)
			case answer[3]&0xf == rcodeNXDomain:
				s.completeSearch(asking, e, rest, denial, send)
			default:
				send(e.append(answer))
			}
		})
		return
	}
	send(denial)
}

// question is the query's question about another name.
func (e *pendingQuery) question(n name) question {
	r := &e.request
	return question{name: n, typ: r.typ, class: r.class, do: r.do, cd: r.flags()&flagCD != 0}
}
