package packet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft"
)

func TestP30_PodKeepsItsAddressAcrossNodes(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2, l.b1, l.b2)
	})
}

func TestP30_NoEndpointsIsRefusedAtOnce(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s)
		for _, from := range []machine{l.a1, l.b1, l.a.machine, l.out} {
			l.refused(from, vip(s))
		}
		l.put(l.slice(s, l.a1.notReady(), l.b1.dying()))
		for _, from := range []machine{l.a2, l.b.machine, l.out} {
			l.refused(from, vip(s))
		}
	})
}

func TestP31_NodeIsMasqueraded(t *testing.T) {
	each(t, func(l *lab) {
		s, host := l.service("web"), l.service("host")
		l.put(s, l.slice(s, ready(l.a1, l.b1)...), host, l.slice(host, ready(l.a.machine, l.b.machine)...))
		l.reaches(l.a.machine, vip(s), l.a.face, l.a1, l.b1)
		l.reaches(l.a.machine, vip(host), l.a.face, l.a.machine, l.b.machine)
		// What an endpoint on another node sees is the node's address.
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a.machine, vip(s), l.a.self(), l.b1)
	})
}

func TestP32_OutsideIsMasqueraded(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		for _, n := range []*node{l.a, l.b} {
			l.enter(n)
			l.reaches(l.out, vip(s), n.face, l.a1, l.b1)
		}
	})
}

func TestP33_HairpinSeesTheNode(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("self")
		l.put(s, l.slice(s, ready(l.a1)...))
		l.reaches(l.a1, vip(s), l.a.face, l.a1)
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1) // other pods' addresses stay
		l.reaches(l.b1, vip(s), l.b1.self(), l.a1)
	})
}

// All ways that a pod has to itself.
func TestP33_HairpinByEveryAddress(t *testing.T) {
	each(t, func(l *lab) {
		s := external(balanced(l.service("self"), l.ext(1), localPolicy), l.ext(2), localPolicy)
		l.put(internalLocal(s), l.slice(s, ready(l.a1)...))
		l.reaches(l.a1, vip(s), l.a.face, l.a1)
		l.reaches(l.a1, l.ext(1), l.a.face, l.a1)
		l.reaches(l.a1, l.ext(2), l.a.face, l.a1)
		l.reaches(l.a1, port30080(l.a), l.a.face, l.a1)
	})
}

func TestP48_UndefinedPortIsRefused(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		undefined := netip.AddrPortFrom(vip(s).Addr(), 81)
		for _, from := range []machine{l.a2, l.a.machine, l.out} {
			l.refused(from, undefined)
		}
	})
}

func TestP49_UnallocatedAddressIsSilent(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		nobody := netip.AddrPortFrom(nth(l.f.services, 9999), 80)
		l.put(s, l.slice(s, ready(l.b1)...))
		l.silent(nobody, l.a1, l.b.machine, l.out)
		l.reaches(l.a1, vip(s), l.a1.self(), l.b1)
		l.remove(s) // a deleted Service's address is nobody's
		l.silent(vip(s), l.a1, l.b.machine, l.out)
	})
}

// ping sends an echo request and returns what comes back: the type and code of
// an ICMP message about it, or an error.
func ping(from machine, to netip.Addr) (kind, code byte, err error) {
	network, request, socket := "ip4:icmp", byte(8), "0.0.0.0"
	if to.Is6() {
		network, request, socket = "ip6:ipv6-icmp", 128, "::"
	}
	err = net.ErrClosed
	from.Do(func() {
		var c net.PacketConn
		if c, err = net.ListenPacket(network, socket); err != nil {
			return
		}
		defer c.Close()
		p := []byte{request, 0, 0, 0, 0x12, 0x34, 0, 1}
		if to.Is4() { // the kernel does it for IPv6
			sum := uint32(p[0])<<8 + 0x1234 + 1
			binary.BigEndian.PutUint16(p[2:], ^uint16(sum))
		}
		if _, err = c.WriteTo(p, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(quick))
		for {
			reply := make([]byte, 1500)
			var n int
			if n, _, err = c.ReadFrom(reply); err != nil {
				return
			}
			// Other messages to this machine arrive here too.
			if n >= 8 && reply[0] != request && strings.Contains(string(reply[:n]), "\x12\x34\x00\x01") {
				kind, code = reply[0], reply[1]
				return
			}
		}
	})
	return kind, code, err
}

func TestP50_ClusterAddressesAnswerNoPing(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a1)...))
		reply, unreachable := byte(0), byte(3)
		if l.f.cluster.Addr().Is6() {
			reply, unreachable = 129, 1
		}
		if kind, _, err := ping(l.a2, l.b1.ip); err != nil || kind != reply {
			l.t.Fatalf("pod to pod: type %d, %v; want an answer", kind, err)
		}
		for _, from := range []machine{l.a2, l.out} {
			kind, code, err := ping(from, vip(s).Addr())
			if err != nil || kind != unreachable {
				l.t.Errorf("ping from %s: type %d code %d, %v; want unreachable", from.name, kind, code, err)
			}
		}
	})
}

func TestP54_ProtocolsAreIndependent(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("dns")
		s.Spec.Ports[1].Name = "other"
		tcp, udp := l.slice(s, ready(l.a2)...), l.slice(s, ready(l.b1)...)
		tcp.Ports, udp.Ports = tcp.Ports[:1], udp.Ports[1:]
		udp.Name, *udp.Ports[0].Name = "dns-udp", "other"
		l.put(s, tcp, udp)
		if a := l.ask(l.a1, netlab.Shot{To: vip(s)}); a.Name != "a2" {
			l.t.Errorf("tcp went to %q", a.Name)
		}
		if a := l.ask(l.a1, netlab.Shot{To: vip(s), UDP: true}); a.Name != "b1" {
			l.t.Errorf("udp went to %q", a.Name)
		}
		l.remove(udp)
		if r := l.a1.Volley([]netlab.Shot{{To: vip(s), UDP: true}}, 0, patient)[0]; r.Err == nil {
			l.t.Errorf("udp without endpoints: %+v", r.Answer)
		}
		l.ask(l.a1, netlab.Shot{To: vip(s)})
	})
}

// A Service of one family is nothing to the proxy of the other, whose node ports
// are anybody's.
func TestP1_OtherFamily(t *testing.T) {
	each(t, func(l *lab) {
		i := 0
		for families()[i].name == l.f.name {
			i++
		}
		other := families()[i].nodes[0]
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		l.a.Serve(netip.AddrPortFrom(other, 30080), "own")
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1)
		if r := l.out.Volley(both(netip.AddrPortFrom(other, 30080), 1), 0, patient); r[0].Answer.Name != "own" || r[1].Answer.Name != "own" {
			l.t.Errorf("the same port in the other family: %+v", r)
		}
	})
}

func TestP56_ExternalPolicyIsNotForClusterAddresses(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1)
		l.reaches(l.out, vip(s), l.a.face, l.a1, l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a.machine, vip(s), l.a.face, l.b1)
	})
}

func TestP58_InternalPolicyLocal(t *testing.T) {
	each(t, func(l *lab) {
		s := internalLocal(l.service("web"))
		l.put(s, l.slice(s, ready(l.a1, l.b1, l.b2)...))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
		l.reaches(l.a.machine, vip(s), l.a.face, l.a1)
		l.reaches(l.b.machine, vip(s), l.b.face, l.b1, l.b2)
		l.reaches(l.out, vip(s), l.a.face, l.a1)
		l.put(l.slice(s, ready(l.b1)...))
		l.silent(vip(s), l.a1, l.a.machine, l.out)
		l.reaches(l.b.machine, vip(s), l.b.face, l.b1)
		l.put(l.slice(s))
		l.refused(l.a1, vip(s))
		l.refused(l.a.machine, vip(s))
	})
}

// Marks are gone when a packet leaves, both from the packet and from its
// connection, and a connection is masqueraded once only.
func TestP60_NoMarkIsLeft(t *testing.T) {
	each(t, func(l *lab) {
		const watch = `table inet watch {
			chain late { type filter hook postrouting priority 300
				meta mark & 0x5000 != 0 counter comment "packet mark"
				ct mark != 0 counter comment "connection mark"
				tcp flags & (syn|ack) == syn counter comment "connections"
			}
			chain arrived { type filter hook input priority 300
				meta mark & 0x5000 != 0 counter comment "packet mark"
				ct mark != 0 counter comment "connection mark"
			}
		}`
		l.command(l.a.machine, "nft", watch)
		s, host := external(l.service("web"), l.ext(1), clusterPolicy), nodePort(l.service("host"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...), host, l.slice(host, ready(l.a.machine, l.b.machine)...))
		for _, from := range []machine{l.a1, l.a.machine, l.out} {
			l.hits(from, both(vip(s), 16), append(l.a.face, from.ip), l.a1, l.b1)
			l.hits(from, both(l.ext(1), 16), append(l.a.face, from.ip), l.a1, l.b1)
			l.hits(from, both(port30080(l.a), 16), append(l.a.face, from.ip), l.a.machine, l.b.machine)
		}
		listing := l.command(l.a.machine, "nft", "list table inet watch")
		for line := range strings.Lines(listing) {
			if strings.Contains(line, "mark\"") && !strings.Contains(line, "packets 0 ") {
				l.t.Errorf("a mark is left behind: %s", line)
			}
			if strings.Contains(line, `"connections"`) && strings.Contains(line, "packets 0 ") {
				l.t.Error("the counters see nothing")
			}
		}
	})
}

// Two clients with the same port stay apart: masqueraded connections get random
// ports.
func TestP60_MasqueradedPortsAreRandom(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.b1)...))
		l.reaches(l.out, vip(s), l.a.face, l.b1)
		kept := 0
		for _, flow := range l.flows(l.a, vip(s)) {
			if flow.clientPort == flow.replyPort {
				kept++
			}
		}
		if kept > 2 {
			l.t.Errorf("%d of 32 connections kept their port", kept)
		}
	})
}

// Only pods of this node keep their address: another node's, if their packets
// get here untranslated, would get their answers from somebody they do not know.
func TestP61_OtherNodesPodsAreNotLocal(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a1, l.b2)...))
		l.reaches(l.b1, vip(s), l.b1.self(), l.a1, l.b2)
		l.b.stop()
		l.b.Do(func() {
			if err := nft.Clean(); err != nil {
				l.t.Error(err)
			}
		})
		l.reaches(l.b1, vip(s), l.a.face, l.a1, l.b2)
	})
}

func TestP55_NodePortsListenNowhere(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), corev1.ServiceExternalTrafficPolicyCluster)
		l.put(s, l.slice(s, ready(l.b1)...))
		if out := l.command(l.a.machine, "ss", "-Hltun"); !strings.Contains(out, ":8080") || strings.Contains(out, ":30080") {
			l.t.Errorf("listening sockets:\n%s", out)
		}
		l.a.Serve(netip.AddrPortFrom(l.a.ip, 30080), "squatter") // may, and gets nothing
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1)
		l.reaches(l.a1, port30080(l.a), l.a1.self(), l.b1)
		l.reaches(l.a.machine, port30080(l.a), l.a.self(), l.b1)
	})
}
