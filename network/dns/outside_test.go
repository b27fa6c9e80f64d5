package dns

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/dns/zone"
)

func silentUpstream(miekg.ResponseWriter, *miekg.Msg) {}

// firstA is the address in an answer, or its response code.
func firstA(m *miekg.Msg) string {
	for _, rr := range m.Answer {
		if a, ok := rr.(*miekg.A); ok {
			return a.A.String()
		}
	}
	return rcodeOf(m)
}

// TestStubZones: a name goes to the servers of the longest zone that holds it, label by label.
func TestStubZones(t *testing.T) {
	rest, corp, lab := startUpstream(t, answerWith("@ 60 IN A 192.0.2.1")), startUpstream(t, answerWith("@ 60 IN A 192.0.2.2")), startUpstream(t, answerWith("@ 60 IN A 192.0.2.3"))
	cfg := toward(t, rest)
	dialRest := cfg.Dial
	cfg.Stubs = map[string][]netip.AddrPort{
		"corp.example":         {netip.MustParseAddrPort(corp.addr)},
		"lab.corp.example":     {netip.MustParseAddrPort(lab.addr)},
		"168.192.in-addr.arpa": {netip.MustParseAddrPort(lab.addr)},
	}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "127.") {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return dialRest(ctx, network, address)
	}
	s := serve(t, cfg, dnstest.Cluster())
	for name, want := range map[string]string{
		"www.example.": "192.0.2.1", "notcorp.example.": "192.0.2.1", "corp.example.": "192.0.2.2", "db.Corp.Example.": "192.0.2.2",
		"lab.corp.example.": "192.0.2.3", "a.b.lab.corp.example.": "192.0.2.3", "blab.corp.example.": "192.0.2.2", "9.1.168.192.in-addr.arpa.": "192.0.2.3",
	} {
		if got := firstA(ask(t, s, "udp", name, "A")); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, zone := range []string{"cluster.local", "svc.cluster.local.", "", "a..b"} {
		s := New(Config{Addrs: []netip.AddrPort{freeAddr(t)}, Domain: "cluster.local",
			Stubs: map[string][]netip.AddrPort{zone: {netip.MustParseAddrPort(corp.addr)}}}, dnstest.Cluster(), slog.New(slog.DiscardHandler))
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("stub zone %q", zone)) {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}

// remember has the server believe that upstream said something a while ago.
func remember(s *Server, q question, rr string, ago time.Duration) {
	m := new(miekg.Msg).SetQuestion(q.name.String(), q.typ)
	m.Response = true
	r, err := miekg.NewRR(rr)
	if err != nil {
		panic(err)
	}
	m.Answer = []miekg.RR{r}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	s.forward.cache.put(q, b, time.Now().Add(-ago))
}

func questionFor(s string, typ uint16) question {
	n, _ := zone.ParseName(s)
	return question{name: n, typ: typ, class: zone.ClassIN}
}

func plain(t *testing.T, s *Server, name string) *miekg.Msg {
	t.Helper()
	return exchange(t, s, "udp", new(miekg.Msg).SetQuestion(name, miekg.TypeA))
}

// TestRFC8767_StaleAnswers: when no server answers, fails or refuses, what was true within the last day is
// given with 30 seconds to live, and the servers are left alone for a while.
func TestRFC8767_StaleAnswers(t *testing.T) {
	refuse := func(w miekg.ResponseWriter, q *miekg.Msg) { w.WriteMsg(new(miekg.Msg).SetRcode(q, miekg.RcodeRefused)) }
	for what, u := range map[string]*upstream{
		"silent": startUpstream(t, silentUpstream), "refused": startUpstream(t, refuse), "closed": {addr: freeAddr(t).String()},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := serve(t, toward(t, u), dnstest.Cluster())
			remember(s, questionFor("www.example.com", miekg.TypeA), "www.example.com. 60 IN A 192.0.2.80", time.Hour)
			remember(s, questionFor("old.example.com", miekg.TypeA), "old.example.com. 60 IN A 192.0.2.81", 25*time.Hour)
			for range 2 {
				m := plain(t, s, "www.example.com.")
				if firstA(m) != "192.0.2.80" || m.Answer[0].Header().Ttl != staleTTL {
					t.Errorf("%v", m)
				}
			}
			if n := u.udp.Load(); n > rounds {
				t.Errorf("asked %d times within %s", n, staleRetry)
			}
			if what == "silent" {
				return // four seconds
			}
			if m := plain(t, s, "old.example.com."); len(m.Answer) > 0 || m.Rcode == miekg.RcodeSuccess {
				t.Errorf("an answer of yesterday: %v", m)
			}
		})
	}
}

// TestRFC8767_Refresh: an old answer is not given while the servers answer.
func TestRFC8767_Refresh(t *testing.T) {
	s := serve(t, toward(t, startUpstream(t, answerWith("@ 60 IN A 192.0.2.99"))), dnstest.Cluster())
	remember(s, questionFor("www.example.com", miekg.TypeA), "www.example.com. 60 IN A 192.0.2.80", time.Minute)
	if got := firstA(plain(t, s, "www.example.com.")); got != "192.0.2.99" {
		t.Errorf("got %s, want the new address", got)
	}
}

// TestRFC9520_FailuresAreRemembered: servers that fail are not asked the same by every client.
func TestRFC9520_FailuresAreRemembered(t *testing.T) {
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		w.WriteMsg(new(miekg.Msg).SetRcode(q, miekg.RcodeServerFailure))
	})
	s := serve(t, toward(t, u), dnstest.Cluster())
	q := questionFor("www.example.com", miekg.TypeA)
	s.forward.cache.fail(q, time.Now().Add(time.Minute)) // it lasts a second, which a slow machine may need
	for range 20 {
		if m := plain(t, s, "www.example.com."); m.Rcode != miekg.RcodeServerFailure {
			t.Fatalf("%s", rcodeOf(m))
		}
	}
	if n := u.udp.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
	if b, v := s.forward.cache.get(nil, q, time.Now().Add(2*time.Minute)); v != missing || b != nil {
		t.Errorf("a failure is still believed later: %v", v)
	}
}

// TestRFC2308_NegativeAnswers: a denial is kept as long as its SOA says, and one without is not.
func TestRFC2308_NegativeAnswers(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		what, soa string
		rcode     int
		kept      time.Duration
	}{
		{"minimum", "example.com. 900 IN SOA a. b. 1 2 3 4 60", miekg.RcodeNameError, 60 * time.Second},
		{"ttl", "example.com. 30 IN SOA a. b. 1 2 3 4 60", miekg.RcodeNameError, 30 * time.Second},
		{"no data", "example.com. 30 IN SOA a. b. 1 2 3 4 60", miekg.RcodeSuccess, 30 * time.Second},
		{"no SOA", "", miekg.RcodeNameError, 0},
		{"failure", "example.com. 30 IN SOA a. b. 1 2 3 4 60", miekg.RcodeServerFailure, 0},
		{"ttl of more than 31 bits", "example.com. 4000000000 IN SOA a. b. 1 2 3 4 60", miekg.RcodeNameError, 0},
	} {
		m := new(miekg.Msg).SetQuestion("x.example.com.", miekg.TypeA)
		m.Response, m.Rcode = true, c.rcode
		if c.soa != "" {
			rr, err := miekg.NewRR(c.soa)
			if err != nil {
				t.Fatal(err)
			}
			m.Ns = []miekg.RR{rr}
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := lifetime(b); got != c.kept {
			t.Errorf("%s: kept for %s, want %s", c.what, got, c.kept)
		}
		k := newCache()
		q := questionFor("x.example.com", miekg.TypeA)
		k.put(q, b, now)
		if _, v := k.get(nil, q, now.Add(c.kept-time.Second)); (v == fresh) != (c.kept > 0) {
			t.Errorf("%s: a second before its end: %v", c.what, v)
		}
		if _, v := k.get(nil, q, now.Add(c.kept)); v != missing {
			t.Errorf("%s: at its end: %v", c.what, v)
		}
	}
}

// TestCacheIsBounded: in entries and in bytes.
func TestCacheIsBounded(t *testing.T) {
	big := make([]string, 50)
	for i := range big {
		big[i] = fmt.Sprintf("x. 60 IN TXT %q", strings.Repeat("x", 60))
	}
	for _, rrs := range [][]string{{"x. 60 IN A 192.0.2.1"}, big} {
		m := new(miekg.Msg).SetQuestion("x.", miekg.TypeA)
		m.Response = true
		for _, text := range rrs {
			rr, err := miekg.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		k, now := newCache(), time.Now()
		for i := range 2 * maxCached {
			k.put(questionFor(fmt.Sprint("n", i), 1), b, now)
		}
		sum := 0
		for q, e := range k.entries {
			sum += cost(q, e)
		}
		if len(k.entries) > maxCached || k.bytes > maxCachedBytes || sum != k.bytes {
			t.Errorf("%d entries of %d bytes, %d counted", len(k.entries), sum, k.bytes)
		}
		if len(k.entries) < maxCached/8 {
			t.Errorf("only %d entries are left", len(k.entries))
		}
	}
}

// TestLoop: a server that asks us what we ask it is found out, told apart from one that does not, and
// not asked any more.
func TestLoop(t *testing.T) {
	var mu sync.Mutex
	self := ""
	mirror := startRaw(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		mu.Lock()
		at := self
		mu.Unlock()
		go func() {
			if m, err := miekg.Exchange(q, at); err == nil {
				w.WriteMsg(m)
			}
		}()
	})
	good := startUpstream(t, answerWith("@ 0 IN A 192.0.2.80"))
	cfg := toward(t, mirror, good)
	s := serve(t, cfg, dnstest.Cluster())
	mu.Lock()
	self = s.cfg.Addrs[0].String()
	mu.Unlock()
	plain(t, s, "first.example.com.")
	eventually(t, "the loop is found", func() bool {
		s.forward.loops.mu.Lock()
		defer s.forward.loops.mu.Unlock()
		_, bad := s.forward.loops.leads["192.0.2.1:53"]
		return bad && len(s.forward.loops.leads) == 1
	})
	before := mirror.udp.Load()
	for i := range 5 {
		if got := firstA(plain(t, s, fmt.Sprintf("n%d.example.com.", i))); got != "192.0.2.80" {
			t.Errorf("got %s", got)
		}
	}
	if n := mirror.udp.Load(); n != before {
		t.Errorf("the server that leads back was asked %d more times", n-before)
	}
}

// TestStrangers: names outside the cluster are looked up for pods, nodes and this host only; what the
// cluster says of itself everybody may know.
func TestStrangers(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.External("api", "api.example.com"))
	w.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}}})
	cfg := toward(t, startUpstream(t, answerWith("@ 60 IN A 192.0.2.80")))
	cfg.Clients = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/56")}
	s := serve(t, cfg, w)
	eventually(t, "the node is known", func() bool { return s.isNode(netip.MustParseAddr("192.0.2.7")) })
	for _, c := range []struct{ peer, name, want string }{
		{"10.244.3.4", "www.example.com.", "192.0.2.80"}, {"fd00:10:244::9", "www.example.com.", "192.0.2.80"},
		{"192.0.2.7", "www.example.com.", "192.0.2.80"}, {"127.0.0.1", "www.example.com.", "192.0.2.80"},
		{"192.0.2.8", "www.example.com.", "REFUSED"}, {"2001:db8::1", "www.example.com.", "REFUSED"},
		{"192.0.2.8", "api.default.svc.cluster.local.", "REFUSED"}, {"10.245.0.1", "9.9.9.9.in-addr.arpa.", "REFUSED"},
		{"192.0.2.8", "web.default.svc.cluster.local.", "10.96.0.20"}, {"192.0.2.8", "absent.default.svc.cluster.local.", "NXDOMAIN"},
	} {
		var r zone.Request
		rcode, _ := r.Parse(query(t, c.name, miekg.TypeA))
		var out zone.Response
		var sent []byte
		got := make(chan []byte, 1)
		if why := s.zone.Load().Respond(&r, rcode, &out, zone.MaxUDP); why == zone.Reply {
			sent = out.Buf
		} else if sent = s.askUpstream(t.Context(), &r, &out, why, zone.MaxUDP, netip.MustParseAddr(c.peer), func(b []byte) { got <- b }); sent == nil {
			sent = <-got
		}
		m := new(miekg.Msg)
		if err := m.Unpack(sent); err != nil {
			t.Fatal(err)
		}
		if firstA(m) != c.want {
			t.Errorf("%s from %s: %s, want %s", c.name, c.peer, firstA(m), c.want)
		}
	}
}

// TestRFC8482_AnyIsMinimal: a question for everything gets next to nothing, and is sent nowhere.
func TestRFC8482_AnyIsMinimal(t *testing.T) {
	u := startUpstream(t, answerWith("@ 60 IN A 192.0.2.80"))
	w := dnstest.Cluster(dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 200))
	s := serve(t, toward(t, u), w)
	m := ask(t, s, "udp", "www.example.com.", "ANY")
	if len(m.Answer) != 1 || !strings.Contains(m.Answer[0].String(), `"RFC8482"`) || u.udp.Load() != 0 {
		t.Errorf("%v; asked upstream %d times", m, u.udp.Load())
	}
	m = ask(t, s, "udp", "db.default.svc.cluster.local.", "ANY")
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != miekg.TypeA {
			t.Errorf("more than one type: %s", rr)
		}
	}
	if b, _ := m.Pack(); len(m.Answer) == 0 || len(b) > 4096 {
		t.Errorf("%d answers in %d bytes", len(m.Answer), len(b))
	}
}

// TestBrokenAnswers: what cannot be read is no answer, and the next server is asked.
func TestBrokenAnswers(t *testing.T) {
	cut := func(n int) func(w miekg.ResponseWriter, q *miekg.Msg) {
		return func(w miekg.ResponseWriter, q *miekg.Msg) {
			m := new(miekg.Msg).SetReply(q)
			m.Answer = []miekg.RR{&miekg.TXT{Hdr: miekg.RR_Header{Name: q.Question[0].Name, Rrtype: miekg.TypeTXT, Class: 1, Ttl: 60}, Txt: []string{"text"}}}
			b, _ := m.Pack()
			w.Write(b[:len(b)-n])
		}
	}
	badVersion := func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg).SetReply(q)
		m.SetEdns0(1232, false)
		m.Rcode = miekg.RcodeBadVers
		w.WriteMsg(m)
	}
	for what, bad := range map[string]func(w miekg.ResponseWriter, q *miekg.Msg){"cut": cut(3), "cut in the name": cut(20), "BADVERS": badVersion} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, toward(t, startUpstream(t, bad), startUpstream(t, answerWith("@ 60 IN A 192.0.2.80"))), dnstest.Cluster())
			if got := firstA(ask(t, s, "udp", "www.example.com.", "A")); got != "192.0.2.80" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestCachedWithoutAllocation: an answer that is kept costs no memory to give.
func TestCachedWithoutAllocation(t *testing.T) {
	s := serve(t, Config{}, dnstest.Cluster())
	q := questionFor("www.example.com", miekg.TypeA)
	remember(s, q, "www.example.com. 60 IN A 192.0.2.80", 0)
	m := new(miekg.Msg).SetQuestion("WWW.example.com.", miekg.TypeA)
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var r zone.Request
	w := zone.Response{Buf: make([]byte, 0, zone.MaxUDP)}
	peer, ctx, z := netip.MustParseAddr("127.0.0.1"), t.Context(), s.zone.Load()
	var reply []byte
	if n := testing.AllocsPerRun(100, func() {
		rcode, _ := r.Parse(msg)
		reply = s.askUpstream(ctx, &r, &w, z.Respond(&r, rcode, &w, zone.MaxUDP), zone.MaxUDP, peer, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	back := new(miekg.Msg)
	if err := back.Unpack(reply); err != nil || firstA(back) != "192.0.2.80" || back.Question[0].Name != "WWW.example.com." || back.Id != m.Id {
		t.Errorf("%v: %v", err, back)
	}
}

// TestMetrics: the counts have CoreDNS's names and labels.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	cfg := toward(t, startUpstream(t, answerWith("@ 60 IN A 192.0.2.80")))
	cfg.Metrics = reg
	s := serve(t, cfg, dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20")))
	for range 3 {
		ask(t, s, "udp", "web.default.svc.cluster.local.", "A")
		ask(t, s, "tcp", "absent.default.svc.cluster.local.", "AAAA")
		ask(t, s, "udp", "www.example.com.", "A")
	}
	server := "dns://" + s.cfg.Addrs[0].String()
	var text string
	page := func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, f := range families {
			for _, m := range f.Metric {
				fmt.Fprintf(&b, "%s %s\n", f.GetName(), m.String())
			}
		}
		text = strings.ReplaceAll(b.String(), "  ", " ")
		return strings.Contains(text, `coredns_forward_responses_total`)
	}
	eventually(t, "the answer is counted", page)
	for _, want := range []string{
		`coredns_dns_requests_total label:{name:"family" value:"1"} label:{name:"proto" value:"udp"} label:{name:"server" value:"` + server + `"} label:{name:"type" value:"A"} label:{name:"view" value:""} label:{name:"zone" value:"."} counter:{value:6`,
		`label:{name:"proto" value:"tcp"} label:{name:"server" value:"` + server + `"} label:{name:"type" value:"AAAA"} label:{name:"view" value:""} label:{name:"zone" value:"."} counter:{value:3`,
		`coredns_dns_responses_total label:{name:"plugin" value:"kubernetes"} label:{name:"rcode" value:"NXDOMAIN"}`,
		`coredns_dns_responses_total label:{name:"plugin" value:"forward"} label:{name:"rcode" value:"NOERROR"}`,
		`coredns_dns_responses_total label:{name:"plugin" value:"cache"} label:{name:"rcode" value:"NOERROR"}`,
		`coredns_dns_request_duration_seconds`, `coredns_dns_request_size_bytes`, `coredns_dns_response_size_bytes`,
		`coredns_forward_requests_total label:{name:"to" value:"192.0.2.1:53"}`,
		`coredns_forward_responses_total label:{name:"rcode" value:"NOERROR"} label:{name:"to" value:"192.0.2.1:53"}`,
		`coredns_forward_request_duration_seconds`, `coredns_forward_max_concurrent_rejects_total`,
		`coredns_cache_hits_total label:{name:"server" value:"` + server + `"} label:{name:"type" value:"success"} label:{name:"view" value:""} label:{name:"zones" value:"."} counter:{value:2`,
		`coredns_cache_misses_total`, `coredns_cache_requests_total`, `coredns_cache_entries`, `coredns_cache_served_stale_total`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestStopAnswersWhatWasAsked: a server that is told to stop still gives the answers it is waiting for.
func TestStopAnswersWhatWasAsked(t *testing.T) {
	release := make(chan struct{})
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		<-release
		answerWith("@ 60 IN A 192.0.2.80")(w, q)
	})
	cfg := toward(t, u)
	cfg.Addrs, cfg.Domain = []netip.AddrPort{freeAddr(t)}, "cluster.local"
	s := New(cfg, dnstest.Cluster(), slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		clients.Go(func() {
			if got := firstA(ask(t, s, network, network+".example.com.", "A")); got != "192.0.2.80" {
				t.Errorf("over %s: %s", network, got)
			}
		})
	}
	eventually(t, "both are asked", func() bool { return u.udp.Load() >= 2 })
	stop()
	close(release)
	clients.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
