package nft

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
	"fairlead.dev/fairlead/network/nft/plan"
)

// walk is a random sequence of objects in a lab's World.
type walk struct {
	lab      *lab
	universe lbtest.Universe
	rnd      *rand.Rand
	services [6]*corev1.Service
	slices   [6][]*discoveryv1.EndpointSlice
}

// step replaces or deletes one Service and its endpoints.
func (w *walk) step() {
	n := w.rnd.IntN(len(w.services))
	if w.services[n] != nil && w.rnd.IntN(4) == 0 {
		w.lab.world.Delete(w.services[n])
		w.services[n] = nil
	} else {
		w.services[n] = w.universe.Service(w.rnd, n)
		w.lab.set(w.services[n])
	}
	for _, s := range w.slices[n] {
		w.lab.world.Delete(s)
	}
	w.slices[n] = w.universe.Slices(w.rnd, n)
	for _, s := range w.slices[n] {
		w.lab.set(s)
	}
	w.lab.settle()
}

func (w *walk) objects() (services []*corev1.Service, slices []*discoveryv1.EndpointSlice) {
	for i := range w.services {
		if w.services[i] != nil {
			services = append(services, w.services[i])
		}
		slices = append(slices, w.slices[i]...)
	}
	return services, slices
}

// TestKernelAgreesWithExpect walks through random Services and endpoints and
// asks for random packets what the specification allows and what a real
// connection does.
func TestKernelAgreesWithExpect(t *testing.T) { inBothFamilies(t, checkKernelAgreesWithExpect) }

func checkKernelAgreesWithExpect(t *testing.T, l *lab) {
	for name, pod := range l.pods() {
		l.serve(pod.in, netip.AddrPortFrom(pod.ip, 8081), name)
	}
	l.start()
	seed := rand.Uint64()
	w := &walk{lab: l, rnd: rand.New(rand.NewPCG(seed, 0)), universe: lbtest.Universe{
		Services: netip.MustParsePrefix("10.96.0.0/16"), Nodes: []string{"n1", "n2"}, Zones: []string{"a", "b"}, Ports: []int32{8080, 8081},
		Here: []netip.Addr{podA, podB}, Away: []netip.Addr{podFar, podFar2},
		External: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3")},
	}}
	counts := map[lb.Verdict]int{}
	silences := 0
	for round := range 40 {
		w.step()
		services, slices := w.objects()
		node := lb.Node{Name: "n1", Addrs: []netip.Addr{nodeIP}}
		packets := lbtest.Destinations(services, node)
		for range min(15, 15*len(packets)) {
			p := packets[w.rnd.IntN(len(packets))]
			from := l.origin(w.rnd, &p)
			want := lb.Expect(p, services, slices, node)
			if want.Verdict == lb.Drop || !want.Served {
				if silences++; silences > 40 { // each takes as long as a client waits
					continue
				}
			}
			if err := l.agrees(from, p, want); err != nil {
				t.Fatalf("seed %d round %d: %+v\nexpected %+v\n%v\n%s", seed, round, p, want, err, lb.Table(l.proxy.Rows()...))
			}
			if want.Served {
				counts[want.Verdict]++
			}
		}
	}
	t.Logf("packets by verdict: %v", counts)
	if counts[lb.Forward] < 50 || counts[lb.Refuse] == 0 {
		t.Errorf("seed %d: the walk saw too little: %v", seed, counts)
	}
}

// origin picks where the packet comes from.
func (l *lab) origin(rnd *rand.Rand, p *lb.Packet) *netlab.Netns {
	switch rnd.IntN(4) {
	case 0:
		p.Origin, p.Source = lb.FromOutside, outsideIP
		return l.outsideNs
	case 1:
		p.Origin, p.Source = lb.FromNode, nodeIP
		return l.node
	case 2:
		p.Origin, p.Source = lb.FromPod, podB
		return l.b
	}
	p.Origin, p.Source = lb.FromPod, podA
	return l.a
}

// agrees makes the connection and says how it differs from what was expected.
func (l *lab) agrees(from *netlab.Netns, p lb.Packet, want lb.Outcome) error {
	network, ask := "tcp", from.TCP
	if p.Proto == lb.UDP {
		network, ask = "udp", from.UDP
	}
	timeout := patient
	if !want.Served || want.Verdict == lb.Drop {
		timeout = quick
	}
	answer, err := ask(netip.Addr{}, l.at(p.Dest.String()), timeout)
	switch {
	case !want.Served:
		if err == nil {
			return fmt.Errorf("nobody should answer, %q did", answer.Name)
		}
		return nil
	case want.Verdict == lb.Refuse:
		if err == nil || isTimeout(err) {
			return fmt.Errorf("%s: %+v, %v; want a refusal", network, answer, err)
		}
		return nil
	case want.Verdict == lb.Drop:
		if err == nil || !isTimeout(err) && !strings.Contains(err.Error(), "not permitted") {
			return fmt.Errorf("%s: %+v, %v; want silence", network, answer, err)
		}
		return nil
	case err != nil:
		return err
	}
	at := l.pods()[answer.Name].ip
	ok := false
	for b := range want.Backends {
		ok = ok || b.Addr() == at
	}
	if !ok {
		return fmt.Errorf("%q answered, at %s", answer.Name, at)
	}
	if at != p.Source && p.Origin != lb.FromNode && want.KeepsSource != (answer.Client == l.ip(p.Source)) {
		return fmt.Errorf("%q saw client %s", answer.Name, answer.Client)
	}
	if at == p.Source && answer.Client == l.ip(p.Source) {
		return fmt.Errorf("%q saw itself as the client", answer.Name)
	}
	return nil
}

// manyShapes puts Services of all kinds into the World.
func (l *lab) manyShapes() {
	for i := range 300 {
		s := newService(fmt.Sprint("s", i), fmt.Sprintf("10.100.%d.%d", i/250, i%250+1))
		var addrs []netip.Addr
		for j := range i % 7 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 244, byte(1 + j), byte(i%250 + 2)}))
		}
		switch i % 5 {
		case 1:
			withAffinity(s, int32(60*(i%3+1)))
		case 2:
			nodePort(s, localPolicy)
			s.Spec.Ports = s.Spec.Ports[:1]
			s.Spec.Ports[0].NodePort = int32(30000 + i/5)
		case 3:
			s.Spec.Type = corev1.ServiceTypeLoadBalancer
			s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/25", "203.0.113.7/32"}
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("203.0.%d.%d", i/250, i%250+1)}}
		case 4:
			if i%3 == 0 {
				withAffinity(s, 60)
			}
			s.Annotations = map[string]string{api.AnnotationBalance: api.BalanceByClient}
		}
		l.set(s)
		l.set(newSlice(s.Name, addrs...))
	}
}

// Everybody's nft has to be able to print what we write, and to read it again.
func TestRulesetPrints(t *testing.T) { inBothFamilies(t, checkRulesetPrints) }

func checkRulesetPrints(t *testing.T, l *lab) {
	cfg := testConfig
	cfg.CountUpTo = 1 << 20
	l.startAs(cfg)
	l.manyShapes()
	l.settle()
	out, err := l.node.Command("nft", "list", "ruleset")
	if err != nil {
		t.Fatalf("%v\n%.3000s", err, out)
	}
	ip := plan.NewFamily(l.six).String()
	for _, want := range []string{
		l.text("10.100.0.4") + ` . tcp . 80 comment "default/s3:tcp"`,
		"dnat " + ip + " to ct mark . numgen random mod 3 map @endpoints",
		"chain lb-6-sticky-60s {", "-keep-source {",
		"update @affinity { ct mark . " + ip + " saddr timeout 1m : meta mark }",
		l.text("203.0.0.4") + " . tcp . 80 . " + l.text("198.51.100.0/25"),
		ip + " daddr " + l.text("10.96.0.10") + " udp dport 53 socket wildcard 0 notrack",
		ip + " daddr " + l.text("10.96.0.10") + " tcp dport 53 socket transparent 0 notrack",
		"update @answering { " + ip + " saddr }",
		"flags owner",
		"dnat " + ip + " to ct mark . jhash " + ip + " saddr mod 251 seed 0x66616972 map @endpoints",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the listing lacks %q", want)
		}
	}
	if strings.Contains(out, "invalid type") || strings.Contains(out, "unknown") {
		t.Error("the listing has parts nft cannot name")
	}
	if n := l.proxy.Stats(); strings.Count(out, "\tchain ") > n.Classes+2*20 {
		t.Errorf("%d chains for %d classes", strings.Count(out, "\tchain "), n.Classes)
	}
	file := t.TempDir() + "/saved.nft"
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := netlab.New(t, "elsewhere").Command("nft", "--check", "--file", file); err != nil {
		t.Errorf("what nft prints it cannot read: %v\n%.3000s", err, out)
	}
	// Other programs' transactions go on beside ours.
	if out, err := l.node.Command("nft", "add", "table", ip, "other"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Maps that become too small are replaced, and nobody notices.
func TestMapsGrow(t *testing.T) { inBothFamilies(t, checkMapsGrow) }

func checkMapsGrow(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	stop := l.load(l.a, "10.96.0.1:80")
	before := l.proxy.Stats().Rewrites
	for i := range 6000 {
		l.set(newService(fmt.Sprint("s", i), fmt.Sprintf("10.100.%d.%d", i/250, i%250+1)))
	}
	l.settle()
	if n := l.proxy.Stats(); n.Rewrites == before || n.Failures > 0 {
		t.Errorf("12000 frontends in a map of 4096: %+v", n)
	}
	for i := range 6000 {
		l.world.Delete(newService(fmt.Sprint("s", i), ""))
	}
	l.settle()
	if n, err := stop(); err != nil || n == 0 {
		t.Errorf("%d connections meanwhile, %v", n, err)
	}
	if n := l.proxy.Stats(); n.Services != 1 {
		t.Errorf("%d services left", n.Services)
	}
}

// A class that was never used before needs new rules, and one that nobody uses
// any more is cleaned up some day.
func TestClassesComeAndGo(t *testing.T) { inBothFamilies(t, checkClassesComeAndGo) }

func checkClassesComeAndGo(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	for i := range 100 {
		l.put(withAffinity(newService("aff", "10.96.0.2"), int32(1000+i)), newSlice("aff", podB, podFar))
	}
	l.reaches(l.a, "tcp", "10.96.0.2:80", podA, l.sticks(l.a, "tcp", "10.96.0.2:80", 1))
	if n := l.proxy.Stats().Classes; n > plan.MaxIdle+10 {
		t.Errorf("%d classes are known", n)
	}
}

func (l *lab) conntracked(word string) int {
	l.t.Helper()
	out, err := l.node.Command("conntrack", "-L", "-f", map[bool]string{false: "ipv4", true: "ipv6"}[l.six])
	if err != nil {
		l.t.Fatal(err, out)
	}
	return strings.Count(out, word)
}

// A node without a pod range takes all pods for its own until it has one.
func TestPodRangeArrivesLater(t *testing.T) { inBothFamilies(t, checkPodRangeArrivesLater) }

func checkPodRangeArrivesLater(t *testing.T, l *lab) {
	bare := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	full := l.world.Node("n1")
	l.set(bare)
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podFar))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "far")
	before := l.proxy.Stats().Rewrites
	l.set(full)
	l.until("the rules for the pod range", func() bool { return l.proxy.Stats().Rewrites > before })
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "far")
	if a, err := l.neighbour.TCP(l.ip(podFar2), l.at("10.96.0.1:80"), patient); err != nil || a.Client != l.ip(nodeIP) {
		t.Errorf("pod of n2: %+v, %v; want it masqueraded now", a, err)
	}
	// A new neighbour shows in the set of nodes without a rewrite.
	before = l.proxy.Stats().Rewrites
	l.set(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n3"}, Status: corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: l.ip(outsideIP).String()}}}})
	l.settle()
	l.reaches(l.a, "tcp", "198.51.100.2:8080", podA, "outside")
	if l.proxy.Stats().Rewrites != before {
		t.Error("a new node took a rewrite")
	}
}
