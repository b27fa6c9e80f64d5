package dns

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/world"
)

// FuzzRespond: whatever arrives, the server neither fails nor answers with something that another
// implementation cannot read, that is too long, or that is not about the question.
func FuzzRespond(f *testing.F) {
	w := cluster(service("default", "web", "10.96.0.20"), service("default", "db", "None"), external("api", "web.default.svc.cluster.local"))
	w.Put(slice("default", "db", "10.244.0.5", 40))
	a := newBuilder(testDomain, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
	a.synced = true
	z := a.build(w, w.Subscribe(world.Services, world.Namespaces).Take(), 1)
	for _, name := range []string{".", "cluster.local.", "web.default.svc.cluster.local.", "db.default.svc.cluster.local.",
		"_http._tcp.db.default.svc.cluster.local.", "api.default.svc.cluster.local.", "5.0.244.10.in-addr.arpa.",
		"10-0-0-1.default.pod.cluster.local.", "example.com."} {
		for _, typ := range []uint16{miekg.TypeA, miekg.TypeAAAA, miekg.TypeSRV, miekg.TypePTR, miekg.TypeANY} {
			f.Add(query(f, name, typ))
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		sent := bytes.Clone(msg)
		var r request
		rcode, ok := r.parse(msg)
		if !ok {
			return
		}
		for _, limit := range []int{r.limit(), maxTCP} {
			var w response
			if z.respond(&r, rcode, &w, limit) != reply {
				continue
			}
			if len(w.buf) > limit {
				t.Fatalf("%d bytes, limit %d", len(w.buf), limit)
			}
			if !bytes.Equal(msg, sent) {
				t.Fatal("the query was changed")
			}
			if [2]byte(w.buf) != [2]byte(msg) || !bytes.HasPrefix(w.buf[headerSize:], r.question()) {
				t.Fatal("the answer is about something else")
			}
			m := new(miekg.Msg)
			if err := m.Unpack(w.buf); err != nil {
				t.Fatalf("%v: %x", err, w.buf)
			}
		}
		e := pendingQuery{request: r, limit: minUDP}
		e.fail()
		if r.qend > headerSize && len(msg) < maxTCP {
			e.request.relay(bytes.Clone(msg), minUDP)
			withoutOPT(bytes.Clone(msg))
			eachTTL(msg, func(record) {})
			lifetime(msg)
		}
	})
}

// FuzzUpstream: whatever an upstream server says, it is passed over or becomes a reply to the client's question that is
// not too long.
func FuzzUpstream(f *testing.F) {
	q := questionFor("www.example.com", typeA)
	asked := q.pack(7)
	reply := new(miekg.Msg)
	if err := reply.Unpack(asked); err != nil {
		f.Fatal(err)
	}
	reply.Response = true
	for _, text := range []string{"", "www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN CNAME a.b.", "www.example.com. 60 IN SRV 1 2 3 x.y."} {
		if rr, err := miekg.NewRR(text); err == nil && rr != nil {
			reply.Answer = append(reply.Answer, rr)
		}
		for _, compress := range []bool{false, true} {
			reply.Compress = compress
			b, err := reply.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte("\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01\xc0\x20\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00")) // a pointer to itself
	msg := query(f, "www.example.com.", typeA)
	alias := &node{alias: q.name, sets: []rrset{dataSet(typeCNAME, ttl, string(q.name))}}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if !answers(asked, answer) {
			return
		}
		answer, ok := withoutOPT(bytes.Clone(answer))
		if !ok {
			return
		}
		lifetime(answer)
		c, now := newCache(), time.Now()
		c.put(q, answer, now)
		if b, v := c.get(nil, q, now); v == fresh {
			answer = b
		}
		var r request
		if rcode, ok := r.parse(msg); rcode != rcodeSuccess || !ok {
			t.Fatal("the query does not parse")
		}
		e := newPendingQuery(&r, minUDP)
		check := func(b []byte) {
			if len(b) > minUDP || [2]byte(b) != [2]byte(msg) || !bytes.HasPrefix(b[headerSize:], r.question()) {
				t.Fatalf("%x", b)
			}
		}
		check(e.relay(answer))
		e.response.begin(&e.request, minUDP)
		e.response.put(&alias.sets[0], headerSize)
		check(e.append(answer))
	})
}
