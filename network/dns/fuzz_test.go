package dns

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

// FuzzRespond: whatever arrives, the server neither fails nor answers with something that another
// implementation cannot read, that is too long, or that is not about the question.
func FuzzRespond(f *testing.F) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.Service("default", "db", "None"), dnstest.External("api", "web.default.svc.cluster.local"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 40))
	a := zone.NewBuilder(domainOf("cluster.local"), []netip.Addr{netip.MustParseAddr("10.96.0.10")})
	a.Synced = true
	z := build(a, w, w.Subscribe(world.Services, world.Namespaces).Take(), 1)
	for _, name := range []string{".", "cluster.local.", "web.default.svc.cluster.local.", "db.default.svc.cluster.local.",
		"_http._tcp.db.default.svc.cluster.local.", "api.default.svc.cluster.local.", "5.0.244.10.in-addr.arpa.",
		"10-0-0-1.default.pod.cluster.local.", "example.com."} {
		for _, typ := range []uint16{miekg.TypeA, miekg.TypeAAAA, miekg.TypeSRV, miekg.TypePTR, miekg.TypeANY} {
			f.Add(query(f, name, typ))
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		sent := bytes.Clone(msg)
		var r zone.Request
		rcode, ok := r.Parse(msg)
		if !ok {
			return
		}
		for _, limit := range []int{r.Limit(), zone.MaxTCP} {
			var w zone.Response
			if z.Respond(&r, rcode, &w, limit) != zone.Reply {
				continue
			}
			if len(w.Buf) > limit {
				t.Fatalf("%d bytes, limit %d", len(w.Buf), limit)
			}
			if !bytes.Equal(msg, sent) {
				t.Fatal("the query was changed")
			}
			if [2]byte(w.Buf) != [2]byte(msg) || !bytes.HasPrefix(w.Buf[zone.HeaderSize:], r.Question()) {
				t.Fatal("the answer is about something else")
			}
			m := new(miekg.Msg)
			if err := m.Unpack(w.Buf); err != nil {
				t.Fatalf("%v: %x", err, w.Buf)
			}
		}
		e := pendingQuery{request: r, limit: zone.MinUDP}
		e.fail()
		if r.QuestionEnd > zone.HeaderSize && len(msg) < zone.MaxTCP {
			e.request.Relay(bytes.Clone(msg), zone.MinUDP)
			zone.WithoutOPT(bytes.Clone(msg))
			eachTTL(msg, func(zone.Record) {})
			lifetime(msg)
		}
	})
}

// FuzzUpstream: whatever an upstream server says, it is passed over or becomes a reply to the client's question that is
// not too long.
func FuzzUpstream(f *testing.F) {
	q := questionFor("www.example.com", zone.TypeA)
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
	msg := query(f, "www.example.com.", zone.TypeA)
	alias := &zone.Node{Alias: q.name, Sets: []zone.RRSet{zone.DataSet(zone.TypeCNAME, zone.TTL, string(q.name))}}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if !answers(asked, answer) {
			return
		}
		answer, ok := zone.WithoutOPT(bytes.Clone(answer))
		if !ok {
			return
		}
		lifetime(answer)
		c, now := newCache(), time.Now()
		c.put(q, answer, now)
		if b, v := c.get(nil, q, now); v == fresh {
			answer = b
		}
		var r zone.Request
		if rcode, ok := r.Parse(msg); rcode != zone.RcodeSuccess || !ok {
			t.Fatal("the query does not parse")
		}
		e := newPendingQuery(&r, zone.MinUDP)
		check := func(b []byte) {
			if len(b) > zone.MinUDP || [2]byte(b) != [2]byte(msg) || !bytes.HasPrefix(b[zone.HeaderSize:], r.Question()) {
				t.Fatalf("%x", b)
			}
		}
		check(e.relay(answer))
		e.response.Begin(&e.request, zone.MinUDP)
		e.response.Put(&alias.Sets[0], zone.HeaderSize)
		check(e.append(answer))
	})
}
