package dns

import (
	"bytes"
	"net/netip"
	"testing"

	miekg "github.com/miekg/dns"
)

// FuzzRespond: whatever arrives, the server neither fails nor answers with something that another
// implementation cannot read, that is too long, or that is not about the question.
func FuzzRespond(f *testing.F) {
	w := cluster(service("default", "web", "10.96.0.20"), service("default", "db", "None"), external("api", "web.default.svc.cluster.local"))
	w.Put(slice("default", "db", "10.244.0.5", 40))
	a := newAuthor(testDomain, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
	a.synced = true
	z := a.revise(w, w.Subscribe().Take(), 1)
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
		e := errand{request: r, limit: minUDP}
		e.fail()
		if r.qend > headerSize && len(msg) < maxTCP {
			e.request.relay(bytes.Clone(msg), minUDP)
			withoutOPT(bytes.Clone(msg))
			eachTTL(msg, func(record) {})
			lifetime(msg)
		}
	})
}
