package zone

import "net/netip"

// Outcome says what is left to do with a query after respond.
type Outcome int

const (
	Reply    Outcome = iota // send the response
	Forward                 // not our name: ask upstream and pass the answer on
	Chase                   // an alias of ours leaves the zone: ask upstream for response.alias and append
	Outdated                // the zone is about to change: ask the next one
)

// maxAliases bounds a chain of aliases; a longer one is a loop.
const maxAliases = 8

// Respond answers a query that parsed with rcode, in at most limit bytes. It never blocks, and it
// allocates only for names that are computed: endpoints below a ClusterIP Service and pod names.
func (z *Zone) Respond(r *Request, rcode int, w *Response, limit int) Outcome {
	w.Begin(r, limit)
	if rcode != RcodeSuccess {
		return w.Finish(r, rcode)
	}
	n := r.Key()
	if at := z.Find(n); at != nil {
		return z.answer(r, w, n, at)
	}
	if z.Holds(n) {
		return z.unstored(r, w, n)
	}
	if ip, ok := reversed(r.Name); ok {
		if at, ok := z.addrs.get(hashAddr(ip), ip); ok {
			return z.point(r, w, ip, at)
		}
		if !z.synced && ip.IsPrivate() {
			return w.Finish(r, RcodeServFail) // rule N33: upstream would deny what we do not know yet
		}
	}
	return Forward
}

// answer is a name that exists.
func (z *Zone) answer(r *Request, w *Response, n Name, at *Node) Outcome {
	w.AA = true
	if set := at.set(r.Type); set != nil {
		w.Put(set, HeaderSize)
		return w.Finish(r, RcodeSuccess)
	}
	if at.Alias != "" {
		return z.Follow(r, w, at)
	}
	return z.deny(r, w, RcodeSuccess, HeaderSize, n) // rule N30
}

// unstored is a name below the zone that no table holds: one that can be computed, or one that does
// not exist. Before the first full lists nothing is denied (rule N33).
func (z *Zone) unstored(r *Request, w *Response, n Name) Outcome {
	at := z.Located(n)
	switch {
	case at != nil:
		return z.answer(r, w, n, at)
	case !z.synced:
		return w.Finish(r, RcodeServFail)
	}
	w.AA = true
	return z.deny(r, w, RcodeNXDomain, HeaderSize, n) // rules N31 and N35
}

// deny finishes a negative answer about n, which stands at offset off of the message.
func (z *Zone) deny(r *Request, w *Response, rcode, off int, n Name) Outcome {
	w.soa(off+len(n)-len(z.Domain), z.soa)
	return w.Finish(r, rcode)
}

// Follow answers with an alias and, as far as it stays in the zone, with what it leads to (rule N10). The
// response code is that of the last name (RFC 6604).
func (z *Zone) Follow(r *Request, w *Response, at *Node) Outcome {
	owner := HeaderSize
	for range maxAliases {
		begin := len(w.Buf)
		w.Put(&at.Sets[0], owner)
		if w.truncated {
			return w.Finish(r, RcodeSuccess)
		}
		owner = begin + rrFixed
		alias := at.Alias
		if !z.Holds(alias) {
			w.Alias = alias
			return Chase
		}
		if at = z.Find(alias); at == nil {
			at = z.Located(alias)
		}
		switch {
		case at == nil && !z.synced:
			return w.Finish(r, RcodeServFail)
		case at == nil:
			return z.deny(r, w, RcodeNXDomain, owner, alias)
		case at.set(r.Type) != nil:
			w.Put(at.set(r.Type), owner)
			return w.Finish(r, RcodeSuccess)
		case at.Alias == "":
			return z.deny(r, w, RcodeSuccess, owner, alias)
		}
	}
	return w.Finish(r, RcodeServFail)
}

// point answers for the reverse name of an address of the cluster: a ClusterIP is its Service and
// nothing else, an endpoint is one name in each Service it belongs to (rules N4 and N9).
func (z *Zone) point(r *Request, w *Response, ip netip.Addr, at []belongs) Outcome {
	w.AA = true
	if r.Type != TypePTR && r.Type != TypeANY {
		arpa := arpa6
		if ip.Is4() {
			arpa = arpa4
		}
		w.soa(HeaderSize+len(r.Name)-len(arpa), z.soa)
		return w.Finish(r, RcodeSuccess)
	}
	for _, p := range at {
		if p.label == "" {
			w.ptr("", p.service)
			return w.Finish(r, RcodeSuccess)
		}
	}
	for _, p := range at {
		w.ptr(p.label, p.service)
	}
	return w.Finish(r, RcodeSuccess)
}
