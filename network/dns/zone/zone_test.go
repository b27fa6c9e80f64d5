package zone

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

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/world"
)

// packed is a question in the way a stub resolver does.
func packed(t testing.TB, name string, typ uint16) []byte {
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
func dump(z *Zone) string {
	var lines []string
	each(z.names, func(n Name, at *Node) {
		if n == z.Domain {
			return // the serial number differs
		}
		line := fmt.Sprintf("%s pods=%t alias=%s hosts=%v", n, at.pods, at.Alias, at.hosts)
		for _, s := range at.Sets {
			line += fmt.Sprintf(" %d/%d+%d %x", s.typ, s.count, s.extra, s.wire)
		}
		lines = append(lines, line)
	})
	each(z.addrs, func(ip netip.Addr, at []belongs) {
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
		a := NewBuilder(local, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
		for range 200 {
			for range 1 + r.IntN(3) {
				disturb(r, w)
			}
			made(a, w, changes.Take(), 1)
		}
		whole := NewBuilder(local, []netip.Addr{netip.MustParseAddr("10.96.0.10")})
		made(whole, w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
		if got, want := dump(a.Now), dump(whole.Now); got != want {
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
		w.Delete(dnstest.Service(ns, svc, ""))
	case 1:
		w.Delete(dnstest.Slice(ns, svc, "10.244.0.1", 0))
	case 2:
		if r.IntN(2) == 0 {
			w.Put(dnstest.Namespace(ns))
		} else {
			w.Delete(dnstest.Namespace(ns))
		}
	case 3:
		s := dnstest.External(svc, "example.com")
		s.Namespace = ns
		w.Put(s)
	case 4:
		w.Put(dnstest.Service(ns, svc, "None"))
	case 5:
		w.Put(dnstest.Service(ns, svc, fmt.Sprintf("10.96.0.%d", 1+r.IntN(8))))
	default:
		s := dnstest.Slice(ns, svc, fmt.Sprintf("10.244.0.%d", 1+r.IntN(8)), r.IntN(4))
		if len(s.Endpoints) > 0 && r.IntN(2) == 0 {
			s.Endpoints[0].Hostname = new("shared")
		}
		w.Put(s)
	}
}

// TestZoneIsImmutable: a zone says the same after it has been followed by others.
func TestZoneIsImmutable(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 3))
	changes := w.Subscribe(world.Services, world.Namespaces, world.Nodes)
	a := NewBuilder(local, nil)
	old := made(a, w, changes.Take(), 1)
	before := dump(old)
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		disturb(r, w)
		w.Put(dnstest.Slice("default", "db", "10.244.0.5", r.IntN(9)))
		made(a, w, changes.Take(), 2)
	}
	if dump(old) != before {
		t.Error("a published zone changed")
	}
	if dump(a.Now) == before {
		t.Error("the newest zone is the first one: nothing was tested")
	}
}

// TestNoAllocation: answering from the zone allocates nothing.
func TestNoAllocation(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.Service("default", "db", "None"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 3))
	a := NewBuilder(local, nil)
	a.Synced = true
	z := made(a, w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
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
		msg := packed(t, q.name, q.typ)
		var r Request
		w := Response{Buf: make([]byte, 0, MaxUDP)}
		n := testing.AllocsPerRun(100, func() {
			rcode, _ := r.Parse(msg)
			z.Respond(&r, rcode, &w, MaxUDP)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", q.name, n)
		}
	}
}

// TestNames: presentation and wire form, and the reverse names of addresses, there and back.
func TestNames(t *testing.T) {
	for _, s := range []string{".", "a.", "web.default.svc.cluster.local.", strings.Repeat("a.", 127)} {
		n, ok := ParseName(s)
		if !ok || n.String() != s {
			t.Errorf("%q became %q, %t", s, n.String(), ok)
		}
	}
	for _, s := range []string{"a..b", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 128)} {
		if n, ok := ParseName(s); ok {
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
		n, _ := ParseName(s)
		if ip, ok := reversed([]byte(n)); ok {
			t.Errorf("%s was taken for %s", s, ip)
		}
	}
}

// TestIllegalNames: what does not fit in DNS is left out, and nothing else with it.
func TestIllegalNames(t *testing.T) {
	long := strings.Repeat("a", 64)
	port := dnstest.Service("default", "web", "10.96.0.20")
	port.Spec.Ports = append(port.Spec.Ports, corev1.ServicePort{Name: long, Port: 81})
	host := dnstest.Slice("default", "db", "10.244.0.5", 2)
	host.Endpoints[0].Hostname = new(long)
	for _, c := range []struct {
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		names  int
	}{
		{dnstest.Service("default", long, "10.96.0.20"), nil, 0},
		{dnstest.Service(long, "web", "10.96.0.20"), nil, 0},
		{dnstest.External("api", "bad..name"), nil, 0},
		{dnstest.External("api", ""), nil, 0},
		{port, nil, 3},
		{dnstest.Service("default", "db", "None"), []*discoveryv1.EndpointSlice{host}, 4},
	} {
		if r := derive(local, c.svc, c.slices); len(r.names) != c.names {
			t.Errorf("%s/%s: %d names, want %d", c.svc.Namespace, c.svc.Name, len(r.names), c.names)
		}
	}
}

// made is a builder's next Zone of what has changed in a World.
func made(b *Builder, w *world.World, changes world.Changes, serial uint32) *Zone {
	return b.Build(func(yield func(string, bool) bool) {
		for ns := range changes.Of(world.Namespaces) {
			if !yield(ns.Name, w.HasNamespace(ns.Name)) {
				return
			}
		}
	}, func(yield func(types.NamespacedName, Service) bool) {
		for name := range changes.Of(world.Services) {
			object, endpointSlices := w.Service(name)
			if !yield(name, Service{object, endpointSlices}) {
				return
			}
		}
	}, serial)
}

var local, _ = ParseName("cluster.local")

// reverse returns the name under which ip's PTR record lives.
func reverse(ip netip.Addr) Name {
	const hex = "0123456789abcdef"
	n := arpa6
	if ip.Is4() {
		n = arpa4
	}
	for _, b := range ip.AsSlice() {
		if ip.Is4() {
			n, _ = n.Child(itoa(b))
			continue
		}
		n = Name([]byte{1, hex[b>>4]}) + n
		n = Name([]byte{1, hex[b&15]}) + n
	}
	return n
}

func itoa(b byte) string {
	var d [3]byte
	i := len(d)
	for {
		i--
		d[i] = '0' + b%10
		if b /= 10; b == 0 {
			return string(d[i:])
		}
	}
}

// each calls f for every entry, in no particular order.
func each[K comparable, V any](t table[K, V], f func(K, V)) {
	if t.root == nil {
		return
	}
	for _, b := range t.root {
		if b == nil {
			continue
		}
		for _, l := range b {
			if l == nil {
				continue
			}
			for _, bucket := range l {
				for _, e := range bucket {
					f(e.key, e.value)
				}
			}
		}
	}
}
