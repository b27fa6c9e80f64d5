package dns

import "net/netip"

// outcome says what is left to do with a query after respond.
type outcome int

const (
	reply    outcome = iota // send the response
	forward                 // not our name: ask upstream and pass the answer on
	chase                   // an alias of ours leaves the zone: ask upstream for response.alias and append
	outdated                // the zone is about to change: ask the next one
)

// maxAliases bounds a chain of aliases; a longer one is a loop.
const maxAliases = 8

// respond answers a query that parsed with rcode, in at most limit bytes. It never blocks, and it
// allocates only for names that are computed: endpoints below a ClusterIP Service and pod names.
func (z *Zone) respond(r *request, rcode int, w *response, limit int) outcome {
	w.begin(r, limit)
	if rcode != rcodeSuccess {
		return w.finish(r, rcode)
	}
	n := r.key()
	if at := z.find(n); at != nil {
		return z.answer(r, w, n, at)
	}
	if z.holds(n) {
		return z.unstored(r, w, n)
	}
	if ip, ok := reversed(r.name); ok {
		if at, ok := z.addrs.get(hashAddr(ip), ip); ok {
			return z.point(r, w, ip, at)
		}
		if !z.synced && ip.IsPrivate() {
			return w.finish(r, rcodeServFail) // rule N33: upstream would deny what we do not know yet
		}
	}
	return forward
}

// answer is a name that exists.
func (z *Zone) answer(r *request, w *response, n name, at *node) outcome {
	w.aa = true
	if set := at.set(r.typ); set != nil {
		w.put(set, headerSize)
		return w.finish(r, rcodeSuccess)
	}
	if at.alias != "" {
		return z.follow(r, w, at)
	}
	return z.deny(r, w, rcodeSuccess, headerSize, n) // rule N30
}

// unstored is a name below the zone that no table holds: one that can be computed, or one that does
// not exist. Before the first full lists nothing is denied (rule N33).
func (z *Zone) unstored(r *request, w *response, n name) outcome {
	at := z.located(n)
	switch {
	case at != nil:
		return z.answer(r, w, n, at)
	case !z.synced:
		return w.finish(r, rcodeServFail)
	}
	w.aa = true
	return z.deny(r, w, rcodeNXDomain, headerSize, n) // rules N31 and N35
}

// deny finishes a negative answer about n, which stands at offset off of the message.
func (z *Zone) deny(r *request, w *response, rcode, off int, n name) outcome {
	w.soa(off+len(n)-len(z.domain), z.soa)
	return w.finish(r, rcode)
}

// follow answers with an alias and, as far as it stays in the zone, with what it leads to (rule N10). The
// response code is that of the last name (RFC 6604).
func (z *Zone) follow(r *request, w *response, at *node) outcome {
	owner := headerSize
	for range maxAliases {
		begin := len(w.buf)
		w.put(&at.sets[0], owner)
		if w.truncated {
			return w.finish(r, rcodeSuccess)
		}
		owner = begin + rrFixed
		alias := at.alias
		if !z.holds(alias) {
			w.alias = alias
			return chase
		}
		if at = z.find(alias); at == nil {
			at = z.located(alias)
		}
		switch {
		case at == nil && !z.synced:
			return w.finish(r, rcodeServFail)
		case at == nil:
			return z.deny(r, w, rcodeNXDomain, owner, alias)
		case at.set(r.typ) != nil:
			w.put(at.set(r.typ), owner)
			return w.finish(r, rcodeSuccess)
		case at.alias == "":
			return z.deny(r, w, rcodeSuccess, owner, alias)
		}
	}
	return w.finish(r, rcodeServFail)
}

// point answers for the reverse name of an address of the cluster: a ClusterIP is its Service and
// nothing else, an endpoint is one name in each Service it belongs to (rules N4 and N9).
func (z *Zone) point(r *request, w *response, ip netip.Addr, at []belongs) outcome {
	w.aa = true
	if r.typ != typePTR && r.typ != typeANY {
		arpa := arpa6
		if ip.Is4() {
			arpa = arpa4
		}
		w.soa(headerSize+len(r.name)-len(arpa), z.soa)
		return w.finish(r, rcodeSuccess)
	}
	for _, p := range at {
		if p.label == "" {
			w.ptr("", p.service)
			return w.finish(r, rcodeSuccess)
		}
	}
	for _, p := range at {
		w.ptr(p.label, p.service)
	}
	return w.finish(r, rcodeSuccess)
}
