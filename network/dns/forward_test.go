package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/dns/zone"
)

// upstream is another DNS server: a real one, over UDP and TCP, that counts what it is asked.
type upstream struct {
	udp, tcp atomic.Int32
	addr     string
}

func startUpstream(t testing.TB, answer func(w miekg.ResponseWriter, q *miekg.Msg)) *upstream {
	t.Helper()
	return startRaw(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		if q.Question[0].Qtype == miekg.TypeHINFO { // the server looks for loops
			w.WriteMsg(new(miekg.Msg).SetRcode(q, miekg.RcodeNameError))
			return
		}
		answer(w, q)
	})
}

// startRaw is startUpstream for a server that is told of the search for loops too.
func startRaw(t testing.TB, answer func(w miekg.ResponseWriter, q *miekg.Msg)) *upstream {
	t.Helper()
	u := &upstream{addr: freeAddr(t).String()}
	for _, network := range []string{"udp", "tcp"} {
		ready := make(chan struct{})
		s := &miekg.Server{Addr: u.addr, Net: network, NotifyStartedFunc: func() { close(ready) }}
		s.Handler = miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
			if q.Question[0].Qtype == miekg.TypeHINFO {
				answer(w, q)
				return
			}
			if network == "udp" {
				u.udp.Add(1)
			} else {
				u.tcp.Add(1)
			}
			answer(w, q)
		})
		failed := make(chan error, 1)
		go func() { failed <- s.ListenAndServe() }()
		select {
		case <-ready:
		case err := <-failed:
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Shutdown() })
	}
	return u
}

// records answers every question with these, in zone syntax; "@" is the name asked for.
func answerWith(rrs ...string) func(w miekg.ResponseWriter, q *miekg.Msg) {
	return func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg).SetReply(q)
		m.Compress = true
		for _, text := range rrs {
			rr, err := miekg.NewRR(strings.ReplaceAll(text, "@", q.Question[0].Name))
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
		}
		w.WriteMsg(m)
	}
}

// toward is a configuration whose upstream servers are these. Their ports are not 53, so the file
// names stand-ins, which Dial maps.
func toward(t testing.TB, us ...*upstream) Config {
	t.Helper()
	var lines strings.Builder
	real := map[string]string{}
	for i, u := range us {
		fmt.Fprintf(&lines, "nameserver 192.0.2.%d\n", i+1)
		real[fmt.Sprintf("192.0.2.%d:53", i+1)] = u.addr
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return Config{ResolvConf: path, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, real[address])
	}}
}

// TestN38_OtherNamesAreForwarded: with the client's identity, question and EDNS, and without AA.
func TestN38_OtherNamesAreForwarded(t *testing.T) {
	u := startUpstream(t, answerWith("@ 60 IN A 192.0.2.80"))
	s := serve(t, toward(t, u), dnstest.Cluster())
	for _, name := range []string{"www.EXAMPLE.com.", "notcluster.local.", "local.", "5.5.5.5.in-addr.arpa."} {
		for _, network := range []string{"udp", "tcp"} {
			for _, edns := range []bool{true, false} {
				q := new(miekg.Msg).SetQuestion(name, miekg.TypeA)
				if edns {
					q.SetEdns0(1232, false)
				}
				m := exchange(t, s, network, q)
				if m.Authoritative || !m.RecursionAvailable || m.Question[0].Name != name || len(m.Answer) != 1 || (m.IsEdns0() != nil) != edns {
					t.Errorf("%s over %s, EDNS %t:\n%s", name, network, edns, m)
				}
			}
		}
	}
}

// TestClusterNamesStayInside: a name of the zone is never sent upstream, whatever is asked.
func TestClusterNamesStayInside(t *testing.T) {
	u := startUpstream(t, answerWith("@ 60 IN A 192.0.2.80"))
	s := serve(t, toward(t, u), dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20")))
	for _, name := range []string{"", "absent.", "a.b.c.d.e.f.", "web.default.svc.", "x.web.default.svc.", "*."} {
		for _, typ := range []string{"A", "AAAA", "TXT", "MX", "ANY"} {
			ask(t, s, "udp", name+"cluster.local.", typ)
			ask(t, s, "udp", strings.ToUpper(name+"cluster.local."), typ)
		}
	}
	if n := u.udp.Load() + u.tcp.Load(); n != 0 {
		t.Errorf("%d names of the cluster were sent upstream", n)
	}
}

// TestNoUpstream: without servers other names fail at once.
func TestNoUpstream(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "absent")
	own := filepath.Join(t.TempDir(), "own")
	if err := os.WriteFile(own, []byte("# none\nsearch example.com\nnameserver nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", missing, own} {
		s := serve(t, Config{ResolvConf: path}, dnstest.Cluster())
		begin := time.Now()
		m := ask(t, s, "udp", "www.example.com.", "A")
		if m.Rcode != miekg.RcodeServerFailure || time.Since(begin) > 2*time.Second {
			t.Errorf("resolv.conf %q: %s after %s", path, rcodeOf(m), time.Since(begin))
		}
	}
}

// TestCoalescing: equal questions asked together go upstream once; the answer's TTL counts down.
func TestCoalescing(t *testing.T) {
	release := make(chan struct{})
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		<-release
		answerWith("@ 60 IN A 192.0.2.80")(w, q)
	})
	s := serve(t, toward(t, u), dnstest.Cluster())
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			name := []string{"www.example.com.", "WWW.example.com."}[i%2]
			if m := ask(t, s, "udp", name, "A"); len(m.Answer) != 1 || m.Question[0].Name != name {
				t.Errorf("got %v", m)
			}
		})
	}
	eventually(t, "all are waiting", func() bool {
		s.forward.mu.Lock()
		defer s.forward.mu.Unlock()
		return s.forward.waiters == 50
	})
	close(release)
	clients.Wait()
	if n := u.udp.Load(); n > 2 { // a second one where the answer took longer than a repeat
		t.Errorf("asked upstream %d times", n)
	}
	before := u.udp.Load()
	ask(t, s, "udp", "www.example.com.", "A")
	if u.udp.Load() != before {
		t.Error("the answer was not kept")
	}
}

// TestSecondServer: a silent, refusing or failing first server costs little, and only once.
func TestSecondServer(t *testing.T) {
	good := answerWith("@ 0 IN A 192.0.2.80")
	rcode := func(code int) func(w miekg.ResponseWriter, q *miekg.Msg) {
		return func(w miekg.ResponseWriter, q *miekg.Msg) { w.WriteMsg(new(miekg.Msg).SetRcode(q, code)) }
	}
	for what, bad := range map[string]*upstream{
		"silent":   startUpstream(t, func(miekg.ResponseWriter, *miekg.Msg) {}),
		"servfail": startUpstream(t, rcode(miekg.RcodeServerFailure)),
		"refused":  startUpstream(t, rcode(miekg.RcodeRefused)),
		"closed":   {addr: freeAddr(t).String()},
	} {
		t.Run(what, func(t *testing.T) {
			u := startUpstream(t, good)
			s := serve(t, toward(t, bad, u), dnstest.Cluster())
			for i := range 3 {
				m := ask(t, s, "udp", fmt.Sprintf("www%d.example.com.", i), "A")
				if len(m.Answer) != 1 {
					t.Fatalf("%s", rcodeOf(m))
				}
			}
			if n := bad.udp.Load(); n > 1 {
				t.Errorf("the bad server was asked first %d times", n)
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		s := serve(t, toward(t, startUpstream(t, rcode(miekg.RcodeServerFailure)), startUpstream(t, rcode(miekg.RcodeRefused))), dnstest.Cluster())
		begin := time.Now()
		if m := ask(t, s, "udp", "www.example.com.", "A"); m.Rcode == miekg.RcodeSuccess || time.Since(begin) > 2*time.Second {
			t.Errorf("%s after %s", rcodeOf(m), time.Since(begin))
		}
	})
}

// TestUpstreamTruncation: an answer too long for UDP is fetched over TCP, and given over UDP with TC and as many whole records
// as the client has room for, whether it is new, remembered, from a stub zone's server or what an alias leads to.
func TestUpstreamTruncation(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("@ 60 IN A 192.0.2.%d", i))
	}
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		if w.LocalAddr().Network() == "udp" {
			m := new(miekg.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
			return
		}
		answerWith(many...)(w, q)
	})
	cfg := toward(t, u)
	cfg.Stubs = map[string][]netip.AddrPort{"stub.example": {netip.MustParseAddrPort("192.0.2.1:53")}}
	s := serve(t, cfg, dnstest.Cluster(dnstest.External("api", "api.example.com")))
	for _, name := range []string{"www.example.com.", "www.stub.example.", "api.default.svc.cluster.local."} {
		for _, size := range []uint16{0, 512, 800, 1232, 65000, 600} { // the first is not remembered yet
			q := new(miekg.Msg).SetQuestion(name, miekg.TypeA)
			limit := 512
			if size > 0 {
				q.SetEdns0(size, false)
				limit = min(int(size), 1232)
			}
			m := exchange(t, s, "udp", q)
			m.Compress = true
			const record = 16 // its owner is a pointer
			if n := m.Len(); !m.Truncated || n > limit || n+record <= limit {
				t.Errorf("%s with %d bytes: TC=%t, %d answers in %d bytes", name, size, m.Truncated, len(m.Answer), n)
			}
			if edns := m.IsEdns0() != nil; edns != (size > 0) {
				t.Errorf("%s with %d bytes: OPT in the answer: %t", name, size, edns)
			}
		}
		if m := ask(t, s, "tcp", name, "A"); m.Truncated || len(m.Answer) < 200 {
			t.Errorf("%s over TCP: %d answers", name, len(m.Answer))
		}
	}
}

// TestCut: what goes is the end, and TC tells of it where a client would miss it.
func TestCut(t *testing.T) {
	rr := func(text string) miekg.RR {
		r, err := miekg.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	m := new(miekg.Msg).SetQuestion("a.example.", miekg.TypeA)
	m.Compress = true
	m.Answer = []miekg.RR{rr("a.example. 60 IN A 192.0.2.1"), rr("a.example. 60 IN A 192.0.2.2")}
	m.Ns = []miekg.RR{rr("example. 60 IN NS ns.example.")}
	m.Extra = []miekg.RR{rr("ns.example. 60 IN A 192.0.2.3")}
	denial := new(miekg.Msg).SetQuestion("a.example.", miekg.TypeA)
	denial.Ns = []miekg.RR{rr("example. 60 IN SOA ns.example. root.example. 1 2 3 4 5")}
	for i, c := range []struct {
		m      *miekg.Msg
		less   int // than the whole message
		signed bool
		want   string // answers, authority, additional, TC
	}{
		{m, 1, false, "2 1 0 false"}, {m, 17, false, "2 0 0 false"}, {m, 17, true, "2 0 0 true"},
		{m, 40, false, "1 0 0 true"}, {m, 60, false, "0 0 0 true"}, {denial, 1, false, "0 0 0 true"},
	} {
		b, err := c.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		end, _ := zone.SkipName(b, zone.HeaderSize)
		var got miekg.Msg
		if err := got.Unpack(zone.Cut(b, end+4, len(b)-c.less, c.signed)); err != nil {
			t.Fatal(i, err)
		}
		if text := fmt.Sprint(len(got.Answer), len(got.Ns), len(got.Extra), got.Truncated); text != c.want {
			t.Errorf("%d: %s, want %s", i, text, c.want)
		}
	}
}

// TestForgedAnswers: an answer with another identity or to another question is passed over.
func TestForgedAnswers(t *testing.T) {
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		forged := new(miekg.Msg).SetReply(q)
		forged.Answer = []miekg.RR{&miekg.A{Hdr: miekg.RR_Header{Name: q.Question[0].Name, Rrtype: miekg.TypeA, Class: 1, Ttl: 60}, A: net.IPv4(6, 6, 6, 6)}}
		forged.Id++
		w.WriteMsg(forged)
		forged.Id--
		forged.Question[0].Name = "other.example.com."
		w.WriteMsg(forged)
		forged.Question[0] = q.Question[0]
		w.Write([]byte{1, 2, 3})
		q.Question[0].Name = "www.example.com."
		answerWith("@ 60 IN A 192.0.2.80")(w, q)
	})
	s := serve(t, toward(t, u), dnstest.Cluster())
	m := ask(t, s, "udp", "www.example.com.", "A")
	if len(m.Answer) != 1 || m.Answer[0].(*miekg.A).A.String() != "192.0.2.80" {
		t.Errorf("got %v", m)
	}
}

// TestN10_ExternalNameOutside: the alias comes with what upstream says about its target; a denial stays
// one, and a failure is SERVFAIL, never "no address".
func TestN10_ExternalNameOutside(t *testing.T) {
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		if q.Question[0].Name == "gone.example.com." {
			w.WriteMsg(new(miekg.Msg).SetRcode(q, miekg.RcodeNameError))
			return
		}
		answerWith("@ 60 IN CNAME edge.example.net.", "edge.example.net. 60 IN A 192.0.2.80")(w, q)
	})
	w := dnstest.Cluster(dnstest.External("api", "api.example.com"), dnstest.External("gone", "gone.example.com"))
	s := serve(t, toward(t, u), w)
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, s, network, "API.default.svc.cluster.local.", "A")
		want := []string{"NOERROR",
			"API.default.svc.cluster.local. 5 IN CNAME api.example.com.",
			"api.example.com. 60 IN CNAME edge.example.net.",
			"edge.example.net. 60 IN A 192.0.2.80"}
		if got := strings.Join(transcript(m), "\n"); got != strings.Join(want, "\n") {
			t.Errorf("over %s:\n%s", network, got)
		}
		if m.IsEdns0() == nil {
			t.Error("the answer has no OPT record")
		}
		m = ask(t, s, network, "gone.default.svc.cluster.local.", "A")
		if m.Rcode != miekg.RcodeNameError || len(m.Answer) != 1 {
			t.Errorf("a target that does not exist: %s, %d answers", rcodeOf(m), len(m.Answer))
		}
	}
	lonely := serve(t, Config{}, w)
	if m := ask(t, lonely, "udp", "api.default.svc.cluster.local.", "A"); m.Rcode != miekg.RcodeServerFailure || len(m.Answer) != 1 {
		t.Errorf("without upstream servers: %s, %d answers; want SERVFAIL with the alias", rcodeOf(m), len(m.Answer))
	}
}

// TestResolvConfChanges: the file is read again when it changed.
func TestResolvConfChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	list := servers{path: path}
	now := time.Now()
	for i, c := range []struct{ text, want string }{
		{"nameserver 192.0.2.1\n", "192.0.2.1:53"},
		{"search example.com\nnameserver 192.0.2.2\nnameserver 2001:db8::2\n", "192.0.2.2:53 [2001:db8::2]:53"},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53"},
		{"", ""},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
		if got := strings.Join(list.list(now), " "); got != c.want {
			t.Errorf("step %d: %q, want %q", i, got, c.want)
		}
	}
	os.Remove(path)
	if got := list.list(now.Add(2 * time.Second)); got != nil {
		t.Errorf("without the file: %v", got)
	}
}

// TestOverload: beyond the bounds a query fails at once and costs nothing that lasts.
func TestOverload(t *testing.T) {
	f := newForwarder(Config{}, slog.New(slog.DiscardHandler))
	for i := range maxInFlight {
		f.inFlight[question{name: zone.Name(fmt.Sprint(i))}] = nil
	}
	failed := 0
	f.ask(t.Context(), question{name: "one too many"}, func(answer []byte) {
		if answer == nil {
			failed++
		}
	})
	f.waiters = maxWaiters
	f.ask(t.Context(), question{name: "0"}, func(answer []byte) {
		if answer == nil {
			failed++
		}
	})
	if failed != 2 || len(f.inFlight) != maxInFlight {
		t.Errorf("%d failures, %d in flight", failed, len(f.inFlight))
	}
}
