package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/network/lb"
)

// pools reads pools from lines NAME: SPEC, the eldest first.
func pools(t *testing.T, text string) []Pool {
	t.Helper()
	var all []*kinds.AddressPool
	for line := range strings.Lines(strings.TrimSpace(text)) {
		name, spec, _ := strings.Cut(strings.TrimSpace(line), ": ")
		p := &kinds.AddressPool{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(int64(len(all)), 0)}}
		if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return Pools(all, []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, reserved)
}

var reserved = lb.NewReserved([]*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n1"},
	Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}}}}}, nil, nil, nil)

// services reads Services from lines NAME AGE: what of spec, annotations, labels and has (addresses) there is.
func services(t *testing.T, text string) []*corev1.Service {
	t.Helper()
	var all []*corev1.Service
	for line := range strings.Lines(strings.TrimSpace(text)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var s struct {
			Spec                corev1.ServiceSpec
			Annotations, Labels map[string]string
			Has                 []string
			Given               *bool
			Namespace           string
		}
		s.Spec.Type, s.Namespace = corev1.ServiceTypeLoadBalancer, "default"
		if err := yaml.UnmarshalStrict([]byte(rest), &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		svc := &corev1.Service{Spec: s.Spec, ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, UID: types.UID(name), Labels: s.Labels,
			Annotations: s.Annotations, CreationTimestamp: metav1.NewTime(time.Unix(int64(len(all)), 0))}}
		for _, ip := range s.Has {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
		if s.Given == nil && len(s.Has) > 0 || s.Given != nil && *s.Given {
			svc.Status.Conditions = []metav1.Condition{{Type: api.ConditionAssigned}}
		}
		all = append(all, svc)
	}
	return all
}

func told(all []Decision) string {
	var b strings.Builder
	for _, d := range all {
		fmt.Fprintf(&b, "%s %v %s: %s", d.Service.Name, d.Addresses, d.Reason, d.Message)
		if len(d.Withdrawn) > 0 {
			fmt.Fprintf(&b, " (withdrawn %v)", d.Withdrawn)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestAssign(t *testing.T) {
	const lan = "lan: {addresses: [192.0.2.1-192.0.2.4, '2001:db8::1-2001:db8::2']}"
	for _, c := range []struct{ name, pools, services, want string }{
		{"nothing without pools", "", "a: {}", ""},
		{"in the order of age, and never a node's address", lan, "a: {}\nb: {}\nc: {}\nd: {}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan
			c [192.0.2.4] AddressAssigned: 192.0.2.4 from pool lan
			d [] AddressesExhausted: no IPv4 address is free in pool lan; it gets one as soon as one is given back, or the pool is made larger`},
		{"what is given stays", lan, "a: {}\nb: {has: [192.0.2.1]}", `
			a [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan
			b [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan`},
		{"both families", lan, "a: {spec: {ipFamilies: [IPv6, IPv4]}}\nb: {spec: {ipFamilies: [IPv6]}}", `
			a [2001:db8::1 192.0.2.1] AddressAssigned: 2001:db8::1 from pool lan; 192.0.2.1 from pool lan
			b [2001:db8::2] AddressAssigned: 2001:db8::2 from pool lan`},
		{"one family of two", "lan: {addresses: [192.0.2.1]}", "a: {spec: {ipFamilies: [IPv6, IPv4]}}", `
			a [192.0.2.1] NoAddressPool: 192.0.2.1 from pool lan; no pool that gives addresses by itself has IPv6 addresses`},
		{"classes", lan, "a: {spec: {loadBalancerClass: example.org/other}}\nb: {spec: {loadBalancerClass: fairlead.dev/lb}}\nc: {spec: {type: NodePort}}", `
			b [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan`},
		{"somebody else's address", lan, "a: {has: [198.51.100.4], given: false}\nb: {has: [192.0.2.3], given: false}", `
			b [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan`},
		{"asked for", lan, "a: {}\nb: {spec: {loadBalancerIP: 192.0.2.4}}\nc: {annotations: {fairlead.dev/addresses: '192.0.2.3, 2001:db8::2'}, spec: {ipFamilies: [IPv4, IPv6]}}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [192.0.2.4] AddressAssigned: 192.0.2.4 from pool lan
			c [192.0.2.3 2001:db8::2] AddressAssigned: 192.0.2.3 from pool lan; 2001:db8::2 from pool lan`},
		{"refused", lan, "a: {has: [192.0.2.1]}\nb: {spec: {loadBalancerIP: 192.0.2.1}}\nc: {spec: {loadBalancerIP: 1.2.3.4}}\nd: {spec: {loadBalancerIP: 192.0.2.2}}\ne: {spec: {loadBalancerIP: '2001:db8::1'}}\nf: {annotations: {fairlead.dev/addresses: x}}\ng: {annotations: {fairlead.dev/addresses: 192.0.2.4}, spec: {loadBalancerIP: 192.0.2.3}}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [] AddressRefused: 192.0.2.1 cannot be given: Service default/a has it, and only Services with the same annotation fairlead.dev/share share an address
			c [] AddressRefused: 1.2.3.4 cannot be given: it is outside of every pool
			d [] AddressRefused: 192.0.2.2 cannot be given: it is the address of node n1
			e [192.0.2.3] AddressRefused: 192.0.2.3 from pool lan; 2001:db8::1 cannot be given: spec.ipFamilies of the Service is [IPv4]
			f [192.0.2.4] AddressRefused: 192.0.2.4 from pool lan; "x" is not an address
			g [] AddressRefused: spec.loadBalancerIP 192.0.2.3 is not among those of annotation fairlead.dev/addresses; make them agree; no IPv4 address is free in pool lan; it gets one as soon as one is given back, or the pool is made larger`},
		{"another wish", lan, "a: {has: [192.0.2.1], spec: {loadBalancerIP: 192.0.2.3}}\nb: {has: [192.0.2.4], spec: {loadBalancerIP: 192.0.2.1}}", `
			a [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan
			b [192.0.2.4] AddressRefused: 192.0.2.4 from pool lan; 192.0.2.1 cannot be given: Service default/a has it, and only Services with the same annotation fairlead.dev/share share an address`},
		{"shared", lan, "a: {annotations: {fairlead.dev/share: k}, spec: {ports: [{port: 80}]}}\nb: {annotations: {fairlead.dev/share: k}, spec: {ports: [{port: 80, protocol: UDP}]}}\nc: {annotations: {fairlead.dev/share: k}, spec: {ports: [{port: 80}]}}\nd: {annotations: {fairlead.dev/share: o}, spec: {ports: [{port: 81}]}}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			c [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan
			d [192.0.2.4] AddressAssigned: 192.0.2.4 from pool lan`},
		{"shared with policy Local", lan, "a: {annotations: {fairlead.dev/share: k}, spec: {externalTrafficPolicy: Local, selector: {a: b}, ports: [{port: 80}]}}\nb: {annotations: {fairlead.dev/share: k}, spec: {loadBalancerIP: 192.0.2.1, ports: [{port: 81}]}}\nc: {annotations: {fairlead.dev/share: k}, spec: {externalTrafficPolicy: Local, selector: {a: b}, ports: [{port: 82}]}}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [] AddressRefused: 192.0.2.1 cannot be given: Service default/a has it, and with externalTrafficPolicy Local only Services of the same pods share an address
			c [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan`},
		{"pools for some", "first: {addresses: [192.0.2.1], priority: 1, serviceSelector: {matchLabels: {a: b}}}\nother: {addresses: [198.51.100.1], namespaceSelector: {matchLabels: {team: x}}}\nasked: {addresses: [203.0.113.1], autoAssign: false}", "a: {namespace: lone}\nb: {}\nc: {labels: {a: b}}\nd: {spec: {loadBalancerIP: 203.0.113.1}}", `
			a [] NoAddressPool: no pool with IPv4 addresses is for this Service: pool first is for Services with the labels a=b; pool other is for namespaces with the labels team=x
			b [198.51.100.1] AddressAssigned: 198.51.100.1 from pool other
			c [192.0.2.1] AddressAssigned: 192.0.2.1 from pool first
			d [203.0.113.1] AddressAssigned: 203.0.113.1 from pool asked`},
		{"a pool that changed", "lan: {addresses: [198.51.100.1-198.51.100.9], serviceSelector: {matchLabels: {a: b}}}", "a: {has: [192.0.2.1], labels: {a: b}}\nb: {has: [198.51.100.1]}", `
			a [198.51.100.2] AddressAssigned: 198.51.100.2 from pool lan (withdrawn [192.0.2.1])
			b [198.51.100.1] AddressAssigned: 198.51.100.1 from pool lan`},
		{"no pool any more", "", "a: {has: [192.0.2.1]}", `
			a [] NoAddressPool: no pool that gives addresses by itself has IPv4 addresses (withdrawn [192.0.2.1])`},
		{"no LoadBalancer any more", lan, "a: {given: true, spec: {type: ClusterIP}}", `
			a [] :`},
		{"external addresses are taken", lan, "a: {spec: {type: ClusterIP, externalIPs: [192.0.2.1]}}\nb: {}", `
			b [192.0.2.3] AddressAssigned: 192.0.2.3 from pool lan`},
		{"two that have the same keep it", lan, "a: {has: [192.0.2.1]}\nb: {has: [192.0.2.1]}", `
			a [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan
			b [192.0.2.1] AddressAssigned: 192.0.2.1 from pool lan`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := View{Pools: pools(t, c.pools), Services: services(t, c.services), Reserved: reserved, Namespaces: map[string]labels.Set{"default": {"team": "x"}}}
			got, want := trim(told(v.Assign())), trim(c.want)
			if got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

func trim(text string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

// TestNothingTwice: whatever is asked for and given back, in whatever order, no two Services that do not share have one address.
func TestNothingTwice(t *testing.T) {
	v := View{Pools: pools(t, "lan: {addresses: [192.0.2.0/26]}"), Reserved: reserved}
	for round := range 300 {
		name := fmt.Sprintf("s%d", round)
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.Unix(int64(round), 0)}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
		if round%3 == 0 {
			svc.Spec.LoadBalancerIP = fmt.Sprintf("192.0.2.%d", round%70)
		}
		v.Services = append(v.Services, svc)
		if round%2 == 1 {
			i := round * 7 % len(v.Services)
			v.Services = slices.Delete(v.Services, i, i+1)
		}
		owners := map[netip.Addr]string{}
		for _, d := range v.Assign() {
			d.Service.Status.LoadBalancer.Ingress, d.Service.Status.Conditions = nil, []metav1.Condition{{Type: api.ConditionAssigned}}
			for _, a := range d.Addresses {
				if other := owners[a]; other != "" {
					t.Fatalf("round %d: %s has %s, and so has %s", round, other, a, d.Service.Name)
				}
				owners[a] = d.Service.Name
				d.Service.Status.LoadBalancer.Ingress = append(d.Service.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
			}
		}
	}
}

func TestPools(t *testing.T) {
	var got []string
	for _, p := range pools(t, "c: {addresses: [192.0.2.0/28]}\nb: {addresses: [192.0.2.14-192.0.2.20]}\na: {addresses: [10.96.0.0/24]}\nd: {addresses: [10.244.9.1]}\ne: {addresses: [198.51.100.1], priority: 2}\nf: {addresses: [nonsense]}") {
		got = append(got, fmt.Sprintf("%s %s: %s", p.Object.Name, p.Reason, p.Message))
	}
	want := `
		e Usable: addresses are given from this pool
		a OverlapsCluster: it overlaps 10.96.0.0/12, the addresses of Services of this cluster
		b OverlapsPool: 192.0.2.14-192.0.2.20 overlaps pool c, which is older
		c Usable: addresses are given from this pool; not given are: 192.0.2.2 is the address of node n1
		d OverlapsCluster: it overlaps 10.244.0.0/16, the addresses of pods of this cluster
		f WrongAddresses: spec.addresses: "nonsense": must be a network such as 192.0.2.0/28 or a range such as 192.0.2.10-192.0.2.20`
	if strings.Join(got, "\n") != trim(want) {
		t.Errorf("\n%s", strings.Join(got, "\n"))
	}
}

func TestElect(t *testing.T) {
	addr := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	var all []Announce
	for n := range 9 {
		all = append(all, Announce{Addr: addr(n)})
	}
	nodes := func(names ...string) (alive []Node) {
		for _, n := range names {
			alive = append(alive, Node{Name: n, Settled: !strings.HasSuffix(n, "?")})
		}
		return alive
	}
	spread := func(elected map[netip.Addr]string) string {
		load := map[string]int{}
		for _, n := range elected {
			load[n]++
		}
		return fmt.Sprint(load)
	}
	three := Elect(all, nodes("a", "b", "c"), nil)
	if spread(three) != "map[a:3 b:3 c:3]" {
		t.Errorf("over three: %v", three)
	}
	if again := Elect(all, nodes("c", "b", "a"), three); !maps.Equal(again, three) {
		t.Errorf("again: %v, before %v", again, three)
	}
	two := Elect(all, nodes("a", "b"), three)
	for a, n := range two {
		if three[a] != "c" && three[a] != n {
			t.Errorf("%s moved from %s to %s, and c was lost", a, three[a], n)
		}
	}
	if back := Elect(all, nodes("a", "b", "c?"), two); !maps.Equal(back, two) {
		t.Errorf("a node that has just come got something: %v", back)
	}
	if back := Elect(all, nodes("a", "b", "c"), two); spread(back) != "map[a:3 b:3 c:3]" {
		t.Errorf("a node that is back: %v", back)
	}
	limited := []Announce{{Addr: addr(1), Limited: true, Only: []string{"b"}}, {Addr: addr(2), Limited: true}, {Addr: addr(3), Cannot: []string{"a", "b"}}, {Addr: addr(4), Cannot: []string{"a"}}}
	if got := Elect(limited, nodes("a", "b"), map[netip.Addr]string{addr(1): "a", addr(4): "a"}); fmt.Sprint(got) != "map[192.0.2.1:b 192.0.2.4:b]" {
		t.Errorf("limited: %v", got)
	}
	if got := Elect(all, nil, three); len(got) != 0 {
		t.Errorf("nobody lives: %v", got)
	}
}

func TestLocalNodes(t *testing.T) {
	yes, no := true, false
	at := func(node string, ready, serving *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving}}
	}
	for _, c := range []struct {
		endpoints []discoveryv1.Endpoint
		want      string
	}{
		{nil, "[]"},
		{[]discoveryv1.Endpoint{at("b", &yes, nil), at("a", nil, nil), at("b", &yes, nil), at("c", &no, &no)}, "[a b]"},
		{[]discoveryv1.Endpoint{at("a", &no, &yes), at("b", &yes, &yes)}, "[b]"},
		{[]discoveryv1.Endpoint{at("a", &no, &yes), {}}, "[a]"},
	} {
		if got := fmt.Sprint(LocalNodes([]*discoveryv1.EndpointSlice{{Endpoints: c.endpoints}})); got != c.want {
			t.Errorf("%v: %s, want %s", c.endpoints, got, c.want)
		}
	}
}
