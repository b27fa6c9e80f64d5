package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/world"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

func rcodeOf(m *miekg.Msg) string { return miekg.RcodeToString[m.Rcode] }

// TestN33_ServfailUntilSynced: what is not known yet is not denied; what is known is answered.
func TestN33_ServfailUntilSynced(t *testing.T) {
	w := world.New()
	w.Put(dnstest.Service("default", "web", "10.96.0.20"))
	s := New(Config{Addrs: []netip.AddrPort{freeAddr(t)}, Domain: "cluster.local"}, w, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.patience = time.Millisecond
	run(t, s)
	eventually(t, "answers before the first lists", func() bool {
		q := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
		m, err := miekg.Exchange(q, s.cfg.Addrs[0].String())
		return err == nil && len(m.Answer) == 1
	})
	for _, name := range []string{"absent.default.svc.cluster.local.", "1.0.96.10.in-addr.arpa."} {
		if m := ask(t, s, "udp", name, "PTR"); m.Rcode != miekg.RcodeServerFailure {
			t.Errorf("%s before the first lists: %s, want SERVFAIL", name, rcodeOf(m))
		}
	}
	select {
	case <-s.Ready():
		t.Fatal("ready before the world is synced")
	default:
	}
	w.MarkSynced()
	<-s.Ready()
	if m := ask(t, s, "udp", "absent.default.svc.cluster.local.", "A"); m.Rcode != miekg.RcodeNameError {
		t.Errorf("after the first lists: %s, want NXDOMAIN", rcodeOf(m))
	}
}

// TestChanges: what is put, changed and deleted in the world is what is answered.
func TestChanges(t *testing.T) {
	w := dnstest.Cluster()
	s := serve(t, Config{}, w)
	addr := func(name string) string {
		m := ask(t, s, "udp", name, "A")
		if len(m.Answer) == 0 {
			return rcodeOf(m)
		}
		if a, ok := m.Answer[0].(*miekg.A); ok {
			return a.A.String()
		}
		return m.Answer[0].String()
	}
	const name = "web.default.svc.cluster.local."
	steps := []struct {
		what, want string
		do         func()
	}{
		{"created", "10.96.0.20", func() { w.Put(dnstest.Service("default", "web", "10.96.0.20")) }},
		{"other address", "10.96.0.21", func() { w.Put(dnstest.Service("default", "web", "10.96.0.21")) }},
		{"headless without endpoints", "NXDOMAIN", func() { w.Put(dnstest.Service("default", "web", "None")) }},
		{"an endpoint", "10.244.0.5", func() { w.Put(dnstest.Slice("default", "web", "10.244.0.5", 1)) }},
		{"no endpoint", "NXDOMAIN", func() { w.Delete(dnstest.Slice("default", "web", "10.244.0.5", 1)) }},
		{"deleted", "NXDOMAIN", func() { w.Delete(dnstest.Service("default", "web", "")) }},
	}
	for _, step := range steps {
		step.do()
		eventually(t, step.what, func() bool { return addr(name) == step.want })
	}
	if got := addr("web.other.svc.cluster.local."); got != "NXDOMAIN" {
		t.Errorf("another namespace: %s", got)
	}
	w.Delete(dnstest.Namespace("default"))
	eventually(t, "namespace gone", func() bool { return addr("default.svc.cluster.local.") == "NXDOMAIN" })
}

// TestN40_Rotation: every address of a headless Service comes first sooner or later.
func TestN40_Rotation(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 3))
	s := serve(t, Config{}, w)
	first := map[string]bool{}
	for range 200 {
		m := ask(t, s, "udp", "db.default.svc.cluster.local.", "A")
		if len(m.Answer) != 3 {
			t.Fatalf("%d addresses, want 3", len(m.Answer))
		}
		first[m.Answer[0].(*miekg.A).A.String()] = true
	}
	if len(first) != 3 {
		t.Errorf("first addresses seen: %v, want all three", first)
	}
}

// TestN37_Truncation: an answer that does not fit has TC, holds what fits, and is whole over TCP; the
// sizes are those of RFC 1035 without EDNS, and what the client says up to 1232 with it.
func TestN37_Truncation(t *testing.T) {
	const all = 300
	w := dnstest.Cluster(dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", all))
	s := serve(t, Config{}, w)
	for _, name := range []string{"db.default.svc.cluster.local.", "_http._tcp.db.default.svc.cluster.local."} {
		for _, size := range []uint16{0, 100, 800, 1232, 65000} {
			typ := miekg.TypeA
			if strings.HasPrefix(name, "_") {
				typ = miekg.TypeSRV
			}
			q := new(miekg.Msg).SetQuestion(name, typ)
			limit := 512
			if size > 0 {
				q.SetEdns0(size, false)
				limit = min(max(512, int(size)), 1232)
			}
			m := exchange(t, s, "udp", q)
			got := m.Len()
			if wire, err := m.Pack(); err == nil {
				got = len(wire)
			}
			m.Compress = true
			if packed := m.Len(); !m.Truncated || packed > limit || len(m.Answer) == 0 || len(m.Answer) == all {
				t.Errorf("%s with %d bytes: TC=%t, %d answers, %d (%d) bytes", name, size, m.Truncated, len(m.Answer), packed, got)
			}
			if edns := m.IsEdns0() != nil; edns != (size > 0) {
				t.Errorf("%s with %d bytes: OPT in the answer: %t", name, size, edns)
			}
			if m := exchange(t, s, "tcp", q); m.Truncated || len(m.Answer) != all {
				t.Errorf("%s over TCP: TC=%t, %d answers", name, m.Truncated, len(m.Answer))
			}
		}
	}
}

// TestHugeService: more addresses than a message holds are answered with as many as fit.
func TestHugeService(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.1", 5000))
	s := serve(t, Config{}, w)
	for _, q := range [][2]string{{"db", "A"}, {"db", "SRV"}, {"_http._tcp.db", "SRV"}} {
		m := ask(t, s, "tcp", q[0]+".default.svc.cluster.local.", q[1])
		if m.Rcode != miekg.RcodeSuccess || len(m.Answer) < 500 {
			t.Errorf("%v: %s with %d answers", q, rcodeOf(m), len(m.Answer))
		}
	}
}

// TestOddQueries: what a server says to what no client should send.
func TestOddQueries(t *testing.T) {
	s := serve(t, Config{}, dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20")))
	q := func(edit func(m *miekg.Msg)) *miekg.Msg {
		m := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
		edit(m)
		return m
	}
	for _, c := range []struct {
		what, want string
		q          *miekg.Msg
	}{
		{"another opcode", "NOTIMP", q(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeNotify })},
		{"another class", "REFUSED", q(func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS })},
		{"class ANY", "NOERROR", q(func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassANY })},
		{"no question", "FORMERR", q(func(m *miekg.Msg) { m.Question = nil })},
		{"two questions", "FORMERR", q(func(m *miekg.Msg) { m.Question = append(m.Question, m.Question[0]) })},
		{"two OPT records", "FORMERR", q(func(m *miekg.Msg) { m.SetEdns0(512, false); m.SetEdns0(512, false) })},
		{"another EDNS version", "BADVERS", q(func(m *miekg.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) })},
	} {
		for _, network := range []string{"udp", "tcp"} {
			wire, err := c.q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			m := new(miekg.Msg)
			if err := m.Unpack(raw(t, s, network, wire)); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			if got := rcodeOf(m); got != c.want && !(got == "BADSIG" && c.want == "BADVERS") || m.Id != c.q.Id {
				t.Errorf("%s over %s: %s, want %s", c.what, network, got, c.want)
			}
		}
	}
	header := func(id byte, rest ...byte) []byte {
		return append([]byte{0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, rest...)
	}
	for what, wire := range map[string][]byte{
		"a name that points to itself":       header(1, 0xc0, 12, 0, 1, 0, 1),
		"a name that points ahead":           header(2, 1, 'a', 0xc0, 16, 0, 1, 0, 1),
		"labels that point to each other":    header(3, 0xc0, 14, 0xc0, 12, 0, 1, 0, 1),
		"a label of 64":                      header(4, append([]byte{64}, make([]byte, 69)...)...),
		"a name without end":                 header(5, bytes.Repeat([]byte("\x01a"), 200)...),
		"a question cut off":                 header(6, 1, 'a', 0, 0, 1),
		"a message longer than any query":    header(7, bytes.Repeat([]byte("\x01a"), 30000)...),
		"more records than the message has":  {0, 8, 1, 0, 0, 1, 255, 255, 255, 255, 255, 255, 0, 0, 1, 0, 1},
		"an OPT record whose name is a loop": {0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0xc0, 17, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0},
	} {
		m := new(miekg.Msg)
		if err := m.Unpack(raw(t, s, "udp", wire)); err != nil || m.Rcode != miekg.RcodeFormatError || m.Id != uint16(wire[1]) {
			t.Errorf("%s: %v %v", what, err, m)
		}
	}
	loop := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "snake"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "snake.default.svc.cluster.local"},
	}
	s.world.Put(loop)
	eventually(t, "a loop of aliases fails", func() bool {
		return ask(t, s, "udp", "snake.default.svc.cluster.local.", "A").Rcode == miekg.RcodeServerFailure
	})
}

// raw exchanges one message as bytes.
func raw(t *testing.T, s *Server, network string, q []byte) []byte {
	t.Helper()
	c, err := net.Dial(network, s.cfg.Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if network == "tcp" {
		q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	}
	if _, err := c.Write(q); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65537)
	if network == "tcp" {
		m, err := readFrame(c, b)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestHeader: the bits of a response (RFC 1035, 4.1.1).
func TestHeader(t *testing.T) {
	s := serve(t, Config{}, dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20")))
	q := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
	q.CheckingDisabled = true
	for _, rd := range []bool{true, false} {
		q.RecursionDesired = rd
		m := exchange(t, s, "udp", q)
		if !m.Response || !m.Authoritative || m.Truncated || !m.RecursionAvailable || m.RecursionDesired != rd || !m.CheckingDisabled || m.AuthenticatedData {
			t.Errorf("RD=%t: %s", rd, m.MsgHdr.String())
		}
	}
}

// TestTCP: queries of one connection are answered without waiting for each other, and a connection
// that says nothing sensible is closed.
func TestTCP(t *testing.T) {
	s := serve(t, Config{}, dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20")))
	c, err := net.Dial("tcp", s.cfg.Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	var sent []byte
	const n = 100
	for i := range n {
		q := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
		q.Id = uint16(i)
		wire, _ := q.Pack()
		sent = append(binary.BigEndian.AppendUint16(sent, uint16(len(wire))), wire...)
	}
	go func() { // in two parts, cut inside a message
		c.Write(sent[:len(sent)/2+1])
		c.Write(sent[len(sent)/2+1:])
	}()
	seen := map[uint16]bool{}
	for range n {
		b, err := readFrame(c, make([]byte, 4096))
		if err != nil {
			t.Fatal(err)
		}
		seen[binary.BigEndian.Uint16(b)] = true
	}
	if len(seen) != n {
		t.Errorf("%d different answers, want %d", len(seen), n)
	}
	if _, err := c.Write([]byte{0xff, 0xff, 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a message longer than any query was not refused")
	}
}

// TestConnectionLimit: more connections than there are places, for all clients or for one, are closed, and a place
// becomes free.
func TestConnectionLimit(t *testing.T) {
	s := serve(t, Config{}, dnstest.Cluster())
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	connect := func(client byte) net.Conn {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, client)}}
		c, err := from.Dial("tcp", s.cfg.Addrs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		return c
	}
	works := func(c net.Conn) bool {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		m := miekg.Conn{Conn: c}
		if m.WriteMsg(new(miekg.Msg).SetQuestion("cluster.local.", miekg.TypeSOA)) != nil {
			return false
		}
		_, err := m.ReadMsg()
		return err == nil
	}
	for client := range byte(maxConns / maxConnsOf) {
		for range maxConnsOf {
			if !works(connect(client)) {
				t.Fatalf("connection %d of %d was refused", len(open), maxConns)
			}
		}
		if client == 0 && works(connect(client)) {
			t.Fatal("a client was served one connection too many")
		}
	}
	const another = 200
	if works(connect(another)) {
		t.Fatal("one connection too many was served")
	}
	open[0].Close()
	eventually(t, "a place becomes free", func() bool { return works(connect(another)) })
}

// TestAddressTaken and TestAddressMissing: the errors say what to do.
func TestAddressTaken(t *testing.T) {
	addr := freeAddr(t)
	other, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := New(Config{Addrs: []netip.AddrPort{addr}, Domain: "cluster.local"}, dnstest.Cluster(), slog.New(slog.DiscardHandler))
	err = s.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("ss -lnp sport = :%d", addr.Port())) {
		t.Errorf("got %v", err)
	}
}

func TestAddressMissing(t *testing.T) {
	s := New(Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, Domain: "cluster.local"}, dnstest.Cluster(), slog.New(slog.DiscardHandler))
	err := s.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "fairlead0") {
		t.Errorf("got %v", err)
	}
}

// TestRestart: a second server takes over the address while the first still answers, and no query is
// lost.
func TestRestart(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"))
	cfg := Config{Addrs: []netip.AddrPort{freeAddr(t)}, Domain: "cluster.local"}
	start := func() (stop func()) {
		s := New(cfg, w, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		select {
		case <-s.Ready():
		case err := <-done:
			t.Fatalf("Run: %v", err)
		}
		return func() { cancel(); <-done }
	}
	stop := start()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	lost := make(chan error, 4)
	for range 4 {
		clients.Go(func() {
			q := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
			c := miekg.Client{Timeout: 2 * time.Second}
			for ctx.Err() == nil {
				if _, _, err := c.Exchange(q, cfg.Addrs[0].String()); err != nil {
					lost <- err
					return
				}
			}
		})
	}
	for range 10 {
		next := start()
		stop()
		stop = next
	}
	cancel()
	clients.Wait()
	stop()
	select {
	case err := <-lost:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a query was lost in a restart: %v", err)
		}
	default:
	}
}

// TestOwnAddress: the server also answers on the first address of its node's pod range, when the node has
// got one, and moves when that changes.
func TestOwnAddress(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"))
	s := serve(t, Config{NodeName: "n1"}, w)
	node := func(cidr string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}}}
	}
	answers := func(ip string) func() bool {
		return func() bool {
			q := new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA)
			for _, network := range []string{"udp", "tcp"} {
				c := miekg.Client{Net: network, Timeout: time.Second}
				m, _, err := c.Exchange(q, netip.AddrPortFrom(netip.MustParseAddr(ip), s.cfg.Addrs[0].Port()).String())
				if err != nil || len(m.Answer) != 1 {
					return false
				}
			}
			return true
		}
	}
	w.Put(node("127.9.8.0/24"))
	eventually(t, "an answer on the node's own address", answers("127.9.8.1"))
	w.Put(node("127.9.9.0/24"))
	eventually(t, "an answer on the new address", answers("127.9.9.1"))
	eventually(t, "silence on the old one", func() bool { return !answers("127.9.8.1")() })
}
