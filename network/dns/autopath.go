package dns

import (
	"context"
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/network/dns/zone"
)

// maxSearches bounds what is tried for one question: the limit of a pod's resolv.conf.
const maxSearches = 32

// searchList is the names a client will ask for next if the zone denies the one it asks for now: its search
// list's other domains in their order, then the name itself. There are none when the client is not known, or
// does not seem to search, or would not take an address for an answer.
func (s *Server) searchList(r *zone.Request, w *zone.Response, peer netip.Addr) []zone.Name {
	if s.cfg.Searches == nil || !w.AA || w.Buf[3]&0xf != zone.RcodeNXDomain || r.Type != zone.TypeA && r.Type != zone.TypeAAAA {
		return nil
	}
	searches := s.cfg.Searches(peer)
	if len(searches) == 0 || len(searches) > maxSearches {
		return nil
	}
	first, ok := zone.ParseName(searches[0])
	n := zone.Name(r.Name)
	if !ok || len(n) <= len(first) || n[len(n)-len(first):] != first {
		return nil
	}
	labels := n[:len(n)-len(first)]
	if !endsLabel(labels) {
		return nil
	}
	var list []zone.Name
	for _, domain := range append(slices.Clone(searches[1:]), ".") {
		if below, ok := zone.ParseName(domain); ok && len(labels)+len(below) <= zone.MaxName {
			list = append(list, labels+below)
		}
	}
	return list
}

// endsLabel reports whether the labels fill n, rather than the last one being cut.
func endsLabel(n zone.Name) bool {
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
func (s *Server) completeSearch(asking context.Context, e *pendingQuery, list []zone.Name, denial []byte, send func([]byte)) {
	for i, n := range list {
		z := s.zone.Load()
		alias := &zone.Node{Alias: n, Sets: []zone.RRSet{zone.DataSet(zone.TypeCNAME, zone.TTL, string(n))}}
		w := zone.Response{Buf: make([]byte, 0, zone.MinUDP)}
		if z.Holds(n) {
			if z.Find(n) == nil && z.Located(n) == nil {
				continue
			}
			w.Begin(&e.request, e.limit)
			w.AA = true
			if z.Follow(&e.request, &w, alias) == zone.Reply {
				send(w.Buf)
				return
			}
			e.response = w
			s.forward.ask(asking, e.question(w.Alias), func(answer []byte) { send(e.append(answer)) })
			return
		}
		w.Begin(&e.request, e.limit)
		w.Put(&alias.Sets[0], zone.HeaderSize)
		e.response = w
		rest := list[i+1:]
		s.forward.ask(asking, e.question(n), func(answer []byte) {
			switch {
			case answer == nil || !settles(answer):
				send(denial)
			case answer[3]&0xf == zone.RcodeNXDomain:
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
func (e *pendingQuery) question(n zone.Name) question {
	r := &e.request
	return question{name: n, typ: r.Type, class: r.Class, do: r.DO, cd: r.Flags()&zone.FlagCD != 0}
}
