package nft

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// Answers are waited for patiently, so that a busy machine fails no test.
// Silence is what lasts longer than quick.
const (
	patient = 10 * time.Second
	quick   = 500 * time.Millisecond
)

var anyClient netip.Addr

// reaches connects until each of the named servers has answered, and fails if
// any other does or if one saw another client than the one given.
func (l *lab) reaches(from *netlab.Netns, network, to string, client netip.Addr, names ...string) {
	l.t.Helper()
	seen := map[string]bool{}
	for range 200 {
		answer, err := from.TCP(netip.Addr{}, l.at(to), patient)
		if network == "udp" {
			answer, err = from.UDP(netip.Addr{}, l.at(to), patient)
		}
		if err != nil {
			l.t.Errorf("%s %s: %v", network, to, err)
			return
		}
		if !contains(names, answer.Name) {
			l.t.Errorf("%s %s was answered by %q, want one of %q", network, to, answer.Name, names)
			return
		}
		if client != anyClient && answer.Client != l.ip(client) {
			l.t.Errorf("%s %s: %q saw client %s, want %s", network, to, answer.Name, answer.Client, client)
			return
		}
		if seen[answer.Name] = true; len(seen) == len(names) {
			return
		}
	}
	l.t.Errorf("%s %s: in 200 connections only %v answered, want all of %q", network, to, seen, names)
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// refused expects a refusal at once, silent expects none and no answer either.
func (l *lab) refused(from *netlab.Netns, to string) {
	l.t.Helper()
	start := time.Now()
	if _, err := from.TCP(netip.Addr{}, l.at(to), patient); !errors.Is(err, syscall.ECONNREFUSED) {
		l.t.Errorf("tcp %s: %v, want connection refused", to, err)
	}
	if d := time.Since(start); d > 3*time.Second { // a lost reset would take retransmissions, after 1 and 3 s
		l.t.Errorf("tcp %s: refused only after %v", to, d)
	}
}

func (l *lab) refusedUDP(from *netlab.Netns, to string) {
	l.t.Helper()
	if _, err := from.UDP(netip.Addr{}, l.at(to), patient); !errors.Is(err, syscall.ECONNREFUSED) {
		l.t.Errorf("udp %s: %v, want port unreachable", to, err)
	}
}

func (l *lab) silent(from *netlab.Netns, to string) {
	l.t.Helper()
	if a, err := from.TCP(netip.Addr{}, l.at(to), quick); !isTimeout(err) {
		l.t.Errorf("tcp %s: %v, %v, want silence", to, a, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func nodePort(s *corev1.Service, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	s.Spec.Type = corev1.ServiceTypeNodePort
	s.Spec.ExternalTrafficPolicy = policy
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 30080
	}
	return s
}

func external(s *corev1.Service, ip string, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	s.Spec.ExternalIPs = []string{ip}
	s.Spec.ExternalTrafficPolicy = policy
	return s
}

const (
	clusterPolicy = corev1.ServiceExternalTrafficPolicyCluster
	localPolicy   = corev1.ServiceExternalTrafficPolicyLocal
)

func TestP30_PodToClusterIPKeepsSource(t *testing.T) {
	inBothFamilies(t, checkP30_PodToClusterIPKeepsSource)
}

func checkP30_PodToClusterIPKeepsSource(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB, podFar, podFar2))
	for _, network := range []string{"tcp", "udp"} {
		l.reaches(l.a, network, "10.96.0.1:80", podA, "b", "far", "far2")
	}
}

func TestP30_NoEndpointsIsRefusedAtOnce(t *testing.T) {
	inBothFamilies(t, checkP30_NoEndpointsIsRefusedAtOnce)
}

func checkP30_NoEndpointsIsRefusedAtOnce(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"))
	l.refused(l.a, "10.96.0.1:80")
	l.refused(l.node, "10.96.0.1:80")
	l.refused(l.outsideNs, "10.96.0.1:80")
	l.refusedUDP(l.a, "10.96.0.1:80")
	// The node's own datagram is stopped inside the system call that sends it.
	if _, err := l.node.UDP(netip.Addr{}, l.at("10.96.0.1:80"), patient); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("udp from the node: %v, want an error at once", err)
	}
}

func TestP31_NodeToClusterIP(t *testing.T) { inBothFamilies(t, checkP31_NodeToClusterIP) }

func checkP31_NodeToClusterIP(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podA, podFar), newService("host", "10.96.0.2"), newSlice("host", nodeIP))
	l.reaches(l.node, "tcp", "10.96.0.1:80", anyClient, "a", "far")
	l.reaches(l.node, "udp", "10.96.0.1:80", anyClient, "a", "far")
	l.reaches(l.node, "tcp", "10.96.0.2:80", anyClient, "host")
	l.reaches(l.a, "tcp", "10.96.0.2:80", podA, "host")
	l.reaches(l.outsideNs, "tcp", "10.96.0.2:80", anyClient, "host")
	far, err := l.node.TCP(l.ip(nodeIP), l.at("10.96.0.1:80"), patient)
	if err != nil || (far.Name == "far" && far.Client != l.ip(nodeIP)) {
		t.Errorf("node to far pod: %+v, %v; want client %s", far, err, nodeIP)
	}
}

func TestP32_OutsideToClusterIPIsMasqueraded(t *testing.T) {
	inBothFamilies(t, checkP32_OutsideToClusterIPIsMasqueraded)
}

func checkP32_OutsideToClusterIPIsMasqueraded(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podFar))
	l.reaches(l.outsideNs, "tcp", "10.96.0.1:80", nodeIP, "far")
	// A pod of another node whose packets come here untranslated is no pod of
	// this node: its answer has to come back this way.
	if a, err := l.neighbour.TCP(l.ip(podFar2), l.at("10.96.0.1:80"), patient); err != nil || a.Client != l.ip(nodeIP) {
		t.Errorf("pod of n2: %+v, %v", a, err)
	}
}

func TestP33_Hairpin(t *testing.T) { inBothFamilies(t, checkP33_Hairpin) }

func checkP33_Hairpin(t *testing.T, l *lab) {
	l.start()
	l.put(newService("self", "10.96.0.1"), newSlice("self", podA))
	for _, network := range []string{"tcp", "udp"} {
		l.reaches(l.a, network, "10.96.0.1:80", gateway, "a")
	}
	l.reaches(l.b, "tcp", "10.96.0.1:80", podB, "a") // another pod's source stays
	// Whether the endpoint names its node does not matter.
	nameless := newSlice("self", podB)
	nameless.Endpoints[0].NodeName = nil
	l.put(nameless)
	l.reaches(l.b, "tcp", "10.96.0.1:80", gateway, "b")
}

// The negative control of the test above: without its element in the hairpins
// set the same connection gets no answer.
func TestP33_WithoutHairpinThereIsNoAnswer(t *testing.T) {
	inBothFamilies(t, checkP33_WithoutHairpinThereIsNoAnswer)
}

func checkP33_WithoutHairpinThereIsNoAnswer(t *testing.T, l *lab) {
	l.set(newService("self", "10.96.0.1"))
	l.set(newSlice("self", podA))
	byHand := stepped(t, l.node, testConfig, l.world)
	if err := byHand.step(world.Changes{}); err != nil {
		t.Fatal(err)
	}
	l.reaches(l.a, "tcp", "10.96.0.1:80", gateway, "a")
	table := byHand.tables[map[bool]int{false: 0, true: 1}[l.six]]
	tx := plan.RemoveElements(table.family, []plan.Key{plan.AddrKey(plan.MapHairpins, l.ip(podA))})
	if err := table.applied.socket.Commit(&tx.Batch); err != nil {
		t.Fatal(err)
	}
	l.silent(l.a, "10.96.0.1:80")
}

func TestP34_NodePort(t *testing.T) { inBothFamilies(t, checkP34_NodePort) }

func checkP34_NodePort(t *testing.T, l *lab) {
	l.start()
	l.put(nodePort(newService("web", "10.96.0.1"), clusterPolicy), newSlice("web", podA, podFar))
	l.reaches(l.outsideNs, "tcp", "192.0.2.1:30080", anyClient, "a", "far")
	l.reaches(l.outsideNs, "udp", "192.0.2.1:30080", anyClient, "a", "far")
	l.put(newSlice("web", podFar))
	l.reaches(l.outsideNs, "tcp", "192.0.2.1:30080", nodeIP, "far")
	l.reaches(l.a, "tcp", "192.0.2.1:30080", podA, "far") // rule P36
	l.reaches(l.node, "tcp", "192.0.2.1:30080", nodeIP, "far")
	l.put(newSlice("web"))
	l.refused(l.outsideNs, "192.0.2.1:30080")
	l.refusedUDP(l.outsideNs, "192.0.2.1:30080")
	// Rule P47: only on the addresses that node ports are for.
	l.put(newSlice("web", podFar))
	l.refused(l.outsideNs, "198.51.100.1:30080")
}

func TestP35_NodePortLocal(t *testing.T) { inBothFamilies(t, checkP35_NodePortLocal) }

func checkP35_NodePortLocal(t *testing.T, l *lab) {
	l.start()
	l.put(nodePort(newService("web", "10.96.0.1"), localPolicy), newSlice("web", podA, podFar))
	l.reaches(l.outsideNs, "tcp", "192.0.2.1:30080", outsideIP, "a")
	l.reaches(l.outsideNs, "udp", "192.0.2.1:30080", outsideIP, "a")
	l.reaches(l.b, "tcp", "192.0.2.1:30080", podB, "a", "far")           // P36
	l.reaches(l.node, "tcp", "192.0.2.1:30080", anyClient, "a", "far")   // P38
	l.reaches(l.outsideNs, "tcp", "10.96.0.1:80", anyClient, "a", "far") // P56
	if a, err := l.neighbour.TCP(l.ip(podFar), l.at("192.0.2.1:30080"), patient); err != nil || a.Name != "a" || a.Client != l.ip(podFar) {
		t.Errorf("P37: pod of n2 to n1: %+v, %v; want a with the pod's own address", a, err)
	}
	l.put(newSlice("web", podFar))
	l.silent(l.outsideNs, "192.0.2.1:30080")
	l.silent(l.neighbour, "192.0.2.1:30080")
	l.reaches(l.b, "tcp", "192.0.2.1:30080", podB, "far")
	l.put(newSlice("web"))
	l.refused(l.outsideNs, "192.0.2.1:30080")
	l.refused(l.b, "192.0.2.1:30080")
}

func TestP43_ExternalAndLoadBalancerIPs(t *testing.T) {
	inBothFamilies(t, checkP43_ExternalAndLoadBalancerIPs)
}

func checkP43_ExternalAndLoadBalancerIPs(t *testing.T, l *lab) {
	l.start()
	lbService := newService("lb", "10.96.0.2")
	lbService.Spec.Type = corev1.ServiceTypeLoadBalancer
	lbService.Spec.ExternalTrafficPolicy = localPolicy
	lbService.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.2"}, {IP: "203.0.113.3", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)}}
	l.put(external(newService("ext", "10.96.0.1"), "203.0.113.1", clusterPolicy), newSlice("ext", podFar), lbService, newSlice("lb", podA, podFar))
	l.reaches(l.outsideNs, "tcp", "203.0.113.1:80", nodeIP, "far")
	l.reaches(l.a, "tcp", "203.0.113.1:80", podA, "far")
	l.reaches(l.outsideNs, "tcp", "203.0.113.2:80", outsideIP, "a") // P40
	l.reaches(l.b, "tcp", "203.0.113.2:80", podB, "a", "far")       // P41
	if _, err := l.outsideNs.TCP(netip.Addr{}, l.at("203.0.113.3:80"), quick); err == nil {
		t.Error("P44: an ingress address of mode Proxy was served by the node")
	}
}

func TestP45_SourceRanges(t *testing.T) { inBothFamilies(t, checkP45_SourceRanges) }

func checkP45_SourceRanges(t *testing.T, l *lab) {
	l.start()
	s := nodePort(newService("lb", "10.96.0.1"), clusterPolicy)
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.2"}}
	s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/30", "10.244.1.3/32"}
	l.put(s, newSlice("lb", podFar))
	l.reaches(l.outsideNs, "tcp", "203.0.113.2:80", anyClient, "far")
	l.reaches(l.b, "tcp", "203.0.113.2:80", podB, "far")
	l.silent(l.a, "203.0.113.2:80")
	l.reaches(l.a, "tcp", "192.0.2.1:30080", podA, "far")
	s = s.DeepCopy()
	s.Spec.LoadBalancerSourceRanges = []string{"198.51.0.0/16", "10.244.1.3/32", "198.51.100.2/32"} // overlapping
	l.put(s)
	l.reaches(l.outsideNs, "tcp", "203.0.113.2:80", anyClient, "far")
	l.reaches(l.b, "tcp", "203.0.113.2:80", podB, "far")
	if n := l.proxy.Stats(); n.Failures > 0 || n.Rewrites > len(testConfig.ServiceCIDRs) {
		t.Errorf("changing the ranges took a rewrite: %+v", n)
	}
	s = s.DeepCopy()
	s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.128/25"}
	l.put(s)
	l.silent(l.outsideNs, "203.0.113.2:80")
	s = s.DeepCopy()
	s.Spec.LoadBalancerSourceRanges = nil
	l.put(s)
	l.reaches(l.a, "tcp", "203.0.113.2:80", podA, "far")
}

func TestP48_P49_AddressesWithoutPorts(t *testing.T) {
	inBothFamilies(t, checkP48_P49_AddressesWithoutPorts)
}

func checkP48_P49_AddressesWithoutPorts(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	l.refused(l.a, "10.96.0.1:81")
	l.refused(l.node, "10.96.0.1:81")
	l.refusedUDP(l.a, "10.96.0.1:81")
	l.silent(l.a, "10.96.9.9:80")
	l.world.Delete(newService("web", ""))
	l.settle()
	l.silent(l.a, "10.96.0.1:80")
}

func TestP49_RangesAddedLater(t *testing.T) { inBothFamilies(t, checkP49_RangesAddedLater) }

// A range that a ServiceCIDR has added is one of Services: what is nobody's there stays here, what is somebody's is reached.
func checkP49_RangesAddedLater(t *testing.T, l *lab) {
	l.start()
	stranger := netip.MustParseAddr("10.200.0.9")
	for _, a := range two(stranger) {
		l.outsideNs.Address(netip.PrefixFrom(a, a.BitLen()))
	}
	l.serve(l.outsideNs, netip.AddrPortFrom(stranger, 80), "stranger")
	l.put(newService("web", "10.200.0.7"), newSlice("web", podB))
	l.reaches(l.a, "tcp", "10.200.0.9:80", anyClient, "stranger")
	l.world.Put(&networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{l.text("10.200.0.0/24")}}})
	l.settle()
	l.silent(l.a, "10.200.0.9:80")
	l.reaches(l.a, "tcp", "10.200.0.7:80", podA, "b")
	l.refused(l.a, "10.200.0.7:81")
}

func TestP54_ProtocolsAreIndependent(t *testing.T) {
	inBothFamilies(t, checkP54_ProtocolsAreIndependent)
}

func checkP54_ProtocolsAreIndependent(t *testing.T, l *lab) {
	l.start()
	tcpOnly := newSlice("web", podB)
	tcpOnly.Ports = tcpOnly.Ports[:1]
	l.put(newService("web", "10.96.0.1"), tcpOnly)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	l.refusedUDP(l.a, "10.96.0.1:80")
}

func TestP58_InternalPolicyLocal(t *testing.T) { inBothFamilies(t, checkP58_InternalPolicyLocal) }

func checkP58_InternalPolicyLocal(t *testing.T, l *lab) {
	l.start()
	s := newService("web", "10.96.0.1")
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	l.put(s, newSlice("web", podB, podFar))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	l.reaches(l.node, "tcp", "10.96.0.1:80", anyClient, "b")
	l.put(newSlice("web", podFar))
	l.silent(l.a, "10.96.0.1:80")
	l.silent(l.node, "10.96.0.1:80")
}

func TestP10_TerminatingFallback(t *testing.T) { inBothFamilies(t, checkP10_TerminatingFallback) }

func checkP10_TerminatingFallback(t *testing.T, l *lab) {
	l.start()
	s := newSlice("web", podB, podFar)
	s.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}
	l.put(newService("web", "10.96.0.1"), s)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "far")
	s = s.DeepCopy()
	s.Endpoints = s.Endpoints[:1]
	l.put(s)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
}

// A Service of both IP versions answers on both, each with endpoints of its own.
func TestDualStackService(t *testing.T) {
	l := newLab(t)
	l.start()
	s := nodePort(newService("web", "10.96.0.1"), clusterPolicy)
	s.Spec.ClusterIPs = []string{"10.96.0.1", six(dnsIP.Next()).String()}
	four, other := newSlice("web", podB), newSlice("web", six(podFar))
	other.Name, other.AddressType = "web-6", discoveryv1.AddressTypeIPv6
	l.put(s, four, other)
	for _, network := range []string{"tcp", "udp"} {
		l.six = false
		l.reaches(l.a, network, "10.96.0.1:80", podA, "b")
		l.reaches(l.outsideNs, network, "192.0.2.1:30080", anyClient, "b")
		l.six = true
		l.reaches(l.a, network, "10.96.0.11:80", podA, "far")
		l.reaches(l.outsideNs, network, "192.0.2.1:30080", anyClient, "far")
	}
	l.world.Delete(other)
	l.settle()
	l.refused(l.a, "10.96.0.11:80")
	l.six = false
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
}

// A Proxy for one IP version leaves the other alone.
func TestOneFamilyOnly(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		cfg := testConfig
		cfg.ServiceCIDRs = []netip.Prefix{prefix(l.text("10.96.0.0/12"))}
		l.startAs(cfg)
		l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
		l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
		out, err := l.node.Command("nft", "list", "tables")
		if want := "table " + plan.NewFamily(l.six).String() + " fairlead\n"; err != nil || out != want {
			t.Errorf("tables: %q, %v; want %q", out, err, want)
		}
	})
}

// Whatever is no connection to a Service goes on: echo requests, and before
// them neighbour discovery.
func TestICMPIsLeftAlone(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.start()
		for _, to := range []netip.Addr{gateway, podB, podFar, nodeIP, outsideIP} {
			if answer := l.echo(l.a, l.ip(to)); answer != ipv4.ICMPTypeEchoReply && answer != ipv6.ICMPTypeEchoReply {
				t.Errorf("echo request to %s: %v", l.ip(to), answer)
			}
		}
		// Rule P50: a cluster address answers no echo request.
		l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
		answer := l.echo(l.a, l.at("10.96.0.1:1").Addr())
		if answer != ipv4.ICMPTypeDestinationUnreachable && answer != ipv6.ICMPTypeDestinationUnreachable {
			t.Errorf("echo request to a cluster address: %v", answer)
		}
	})
}

// echo sends an echo request and returns the type of the ICMP message that
// comes in answer.
func (l *lab) echo(from *netlab.Netns, to netip.Addr) icmp.Type {
	l.t.Helper()
	network, number, request := "ip4:icmp", 1, icmp.Type(ipv4.ICMPTypeEcho)
	if to.Is6() {
		network, number, request = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest
	}
	var conn net.PacketConn
	var err error
	from.Do(func() { conn, err = net.ListenPacket(network, "") })
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	m := icmp.Message{Type: request, Body: &icmp.Echo{ID: 7, Seq: 1, Data: []byte("fairlead")}}
	p, err := m.Marshal(nil) // the kernel fills in the checksum of ICMPv6
	if err == nil {
		_, err = conn.WriteTo(p, &net.IPAddr{IP: to.AsSlice()})
	}
	err = errors.Join(err, conn.SetDeadline(time.Now().Add(patient)))
	for p = make([]byte, 1500); err == nil; {
		var n int
		if n, _, err = conn.ReadFrom(p); err != nil {
			break
		}
		answer, bad := icmp.ParseMessage(number, p[:n])
		if bad == nil && bytes.Contains(p[:n], []byte("fairlead")) && answer.Type != request {
			return answer.Type
		}
	}
	l.t.Errorf("echo request to %s: %v", to, err)
	return nil
}

// Pods leave the cluster with their node's address, but show nodes their own.
func TestEgress(t *testing.T) { inBothFamilies(t, checkEgress) }

func checkEgress(t *testing.T, l *lab) {
	l.start()
	l.reaches(l.a, "tcp", "198.51.100.2:8080", outerIP, "outside")
	l.reaches(l.a, "tcp", "192.0.2.1:8080", podA, "host")
	l.reaches(l.a, "tcp", "10.244.2.2:8080", podA, "far")
	l.serve(l.neighbour, netip.AddrPortFrom(node2IP, 8080), "host2")
	l.reaches(l.a, "tcp", "192.0.2.2:8080", podA, "host2")
	// An endpoint outside the cluster has no way back to a pod's address.
	outside := newSlice("ext", outsideIP)
	l.put(newService("ext", "10.96.0.1"), outside)
	l.reaches(l.a, "tcp", "10.96.0.1:80", outerIP, "outside")
}
