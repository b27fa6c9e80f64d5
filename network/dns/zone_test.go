package dns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/network/world"
)

var testDomain, _ = parseName("cluster.local")

// query packs a question in the way a stub resolver does.
func query(t testing.TB, name string, typ uint16) []byte {
	t.Helper()
	m := new(miekg.Msg).SetQuestion(name, typ)
	m.SetEdns0(1232, false)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dump is everything a zone says, as sorted text.
func (z *Zone) dump() string {
	var lines []string
	z.names.each(func(n name, at *node) {
		if n == z.domain {
			return // the serial number differs
		}
		line := fmt.Sprintf("%s pods=%t alias=%s hosts=%v", n, at.pods, at.alias, at.hosts)
		for _, s := range at.sets {
			line += fmt.Sprintf(" %d/%d+%d %x", s.typ, s.count, s.extra, s.wire)
		}
		lines = append(lines, line)
	})
	z.addrs.each(func(ip netip.Addr, at []belongs) {
		line := ip.String()
		for _, p := range at {
			line += fmt.Sprintf(" %s%s", p.label, p.service)
		}
		lines = append(lines, line)
	})
	slices.Sort(lines)
	return fmt.Sprintf("%d %d synced=%t\n", z.names.len, z.addrs.len, z.synced) + strings.Join(lines, "\n")
}

// TestIncremental: a zone that followed random changes one by one says exactly what a zone says that is
// made at once from what the world became.
func TestIncremental(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := world.New()
		changes := w.Subscribe(world.Services, world.Namespaces, world.Nodes)
		a := newBuilder(testDomain, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
		for range 200 {
			for range 1 + r.IntN(3) {
				disturb(r, w)
			}
			a.build(w, changes.Take(), 1)
		}
		whole := newBuilder(testDomain, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
		whole.build(w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
		if got, want := a.now.dump(), whole.now.dump(); got != want {
			t.Fatalf("seed %d:\nfollowed:\n%s\n\nat once:\n%s", seed, got, want)
		}
		if len(a.services) != len(whole.services) {
			t.Fatalf("seed %d: %d Services remembered, want %d", seed, len(a.services), len(whole.services))
		}
	}
}

// disturb makes one random change.
func disturb(r *rand.Rand, w *world.World) {
	ns := []string{"a", "b"}[r.IntN(2)]
	svc := fmt.Sprintf("s%d", r.IntN(6))
	switch r.IntN(8) {
	case 0:
		w.Delete(service(ns, svc, ""))
	case 1:
		w.Delete(slice(ns, svc, "10.244.0.1", 0))
	case 2:
		if r.IntN(2) == 0 {
			w.Put(namespace(ns))
		} else {
			w.Delete(namespace(ns))
		}
	case 3:
		s := external(svc, "example.com")
		s.Namespace = ns
		w.Put(s)
	case 4:
		w.Put(service(ns, svc, "None"))
	case 5:
		w.Put(service(ns, svc, fmt.Sprintf("10.96.0.%d", 1+r.IntN(8))))
	default:
		s := slice(ns, svc, fmt.Sprintf("10.244.0.%d", 1+r.IntN(8)), r.IntN(4))
		if len(s.Endpoints) > 0 && r.IntN(2) == 0 {
			s.Endpoints[0].Hostname = new("shared")
		}
		w.Put(s)
	}
}

// TestZoneIsImmutable: a zone says the same after it has been followed by others.
func TestZoneIsImmutable(t *testing.T) {
	w := cluster(service("default", "web", "10.96.0.20"), service("default", "db", "None"))
	w.Put(slice("default", "db", "10.244.0.5", 3))
	changes := w.Subscribe(world.Services, world.Namespaces, world.Nodes)
	a := newBuilder(testDomain, nil)
	old := a.build(w, changes.Take(), 1)
	before := old.dump()
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		disturb(r, w)
		w.Put(slice("default", "db", "10.244.0.5", r.IntN(9)))
		a.build(w, changes.Take(), 2)
	}
	if old.dump() != before {
		t.Error("a published zone changed")
	}
	if a.now.dump() == before {
		t.Error("the newest zone is the first one: nothing was tested")
	}
}

// TestNoAllocation: answering from the zone allocates nothing.
func TestNoAllocation(t *testing.T) {
	w := cluster(service("default", "web", "10.96.0.20"), service("default", "db", "None"))
	w.Put(slice("default", "db", "10.244.0.5", 3))
	a := newBuilder(testDomain, nil)
	a.synced = true
	z := a.build(w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
	for _, q := range []struct {
		name string
		typ  uint16
	}{
		{"web.default.svc.cluster.local.", miekg.TypeA},
		{"web.default.svc.cluster.local.", miekg.TypeAAAA},
		{"_http._tcp.web.default.svc.cluster.local.", miekg.TypeSRV},
		{"db.default.svc.cluster.local.", miekg.TypeA},
		{"absent.default.svc.cluster.local.", miekg.TypeA},
		{"5.0.244.10.in-addr.arpa.", miekg.TypePTR},
		{"www.example.com.", miekg.TypeA},
	} {
		msg := query(t, q.name, q.typ)
		var r request
		w := response{buf: make([]byte, 0, maxUDP)}
		n := testing.AllocsPerRun(100, func() {
			rcode, _ := r.parse(msg)
			z.respond(&r, rcode, &w, maxUDP)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", q.name, n)
		}
	}
}

// TestNames: presentation and wire form, and the reverse names of addresses, there and back.
func TestNames(t *testing.T) {
	for _, s := range []string{".", "a.", "web.default.svc.cluster.local.", strings.Repeat("a.", 127)} {
		n, ok := parseName(s)
		if !ok || n.String() != s {
			t.Errorf("%q became %q, %t", s, n.String(), ok)
		}
	}
	for _, s := range []string{"a..b", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 128)} {
		if n, ok := parseName(s); ok {
			t.Errorf("%q was taken for %q", s, n.String())
		}
	}
	for _, s := range []string{"10.96.0.10", "0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "fd00:96::ffff"} {
		ip := netip.MustParseAddr(s)
		if back, ok := reversed([]byte(reverse(ip))); !ok || back != ip {
			t.Errorf("%s: %s, %t", s, back, ok)
		}
		want, _ := miekg.ReverseAddr(s)
		if got := reverse(ip).String(); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
		if back, ok := undashed(dashed(ip)); !ok || back != ip {
			t.Errorf("%s: %s came back as %s, %t", s, dashed(ip), back, ok)
		}
	}
	for _, s := range []string{"10.in-addr.arpa.", "1.2.3.4.5.in-addr.arpa.", "256.2.3.4.in-addr.arpa.", "01.2.3.4.in-addr.arpa.", "x.2.3.4.in-addr.arpa.", "in-addr.arpa.", "ip6.arpa.", "1.ip6.arpa."} {
		n, _ := parseName(s)
		if ip, ok := reversed([]byte(n)); ok {
			t.Errorf("%s was taken for %s", s, ip)
		}
	}
}

// TestIllegalNames: what does not fit in DNS is left out, and nothing else with it.
func TestIllegalNames(t *testing.T) {
	long := strings.Repeat("a", 64)
	port := service("default", "web", "10.96.0.20")
	port.Spec.Ports = append(port.Spec.Ports, corev1.ServicePort{Name: long, Port: 81})
	host := slice("default", "db", "10.244.0.5", 2)
	host.Endpoints[0].Hostname = new(long)
	for _, c := range []struct {
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		names  int
	}{
		{service("default", long, "10.96.0.20"), nil, 0},
		{service(long, "web", "10.96.0.20"), nil, 0},
		{external("api", "bad..name"), nil, 0},
		{external("api", ""), nil, 0},
		{port, nil, 3},
		{service("default", "db", "None"), []*discoveryv1.EndpointSlice{host}, 4},
	} {
		if r := derive(testDomain, c.svc, c.slices); len(r.names) != c.names {
			t.Errorf("%s/%s: %d names, want %d", c.svc.Namespace, c.svc.Name, len(r.names), c.names)
		}
	}
}
