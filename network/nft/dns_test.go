package nft

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
)

const dnsAt = "10.96.0.10:53"

// nameServer is a server on the DNS address of node n1, which says "own", and
// sends itself what a Server sends itself. The returned function ends it.
func (l *lab) nameServer() (end func()) {
	l.t.Helper()
	at := l.at(dnsAt)
	var u net.PacketConn
	var tcp net.Listener
	var err error
	l.node.Do(func() {
		if u, err = net.ListenPacket("udp", at.String()); err == nil {
			tcp, err = net.Listen("tcp", at.String())
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		for beat := time.NewTicker(100 * time.Millisecond); ; {
			u.WriteTo([]byte("beat"), net.UDPAddrFromAddrPort(at))
			select {
			case <-beat.C:
			case <-stop:
				u.WriteTo([]byte("farewell"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 9)))
				u.Close()
				close(stopped)
				return
			}
		}
	}()
	go func() {
		for p := make([]byte, 100); ; {
			n, from, err := u.ReadFrom(p)
			if err != nil {
				return
			}
			if string(p[:n]) != "beat" {
				u.WriteTo(fmt.Appendf(nil, "own %s\n", from), from)
			}
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "own %s\n", c.RemoteAddr())
			c.Close()
		}
	}()
	end = func() {
		if stop != nil {
			tcp.Close()
			close(stop)
			<-stopped
			stop = nil
		}
	}
	l.t.Cleanup(end)
	return end
}

func dnsService() *corev1.Service {
	s := newService("kube-dns", dnsIP.String(),
		corev1.ServicePort{Name: "tcp", Port: 53, Protocol: corev1.ProtocolTCP},
		corev1.ServicePort{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP})
	s.Labels = map[string]string{api.LabelServiceProxyName: "fairlead-dns"}
	return s
}

// asks is who answers a query, over UDP and over TCP.
func (l *lab) asks(from *netlab.Netns, want string) {
	l.t.Helper()
	for _, network := range []func(netip.Addr, netip.AddrPort, time.Duration) (netlab.Answer, error){from.UDP, from.TCP} {
		if a, err := network(netip.Addr{}, l.at(dnsAt), patient); err != nil || a.Name != want {
			l.t.Errorf("%+v, %v; want %q to answer", a, err, want)
		}
	}
}

// Queries to the node's own DNS server leave no trace in conntrack; whatever
// else is sent to its address is refused.
func TestDNSIsNotTracked(t *testing.T) { inBothFamilies(t, checkDNSIsNotTracked) }

func checkDNSIsNotTracked(t *testing.T, l *lab) {
	l.nameServer()
	l.start()
	l.put(dnsService(), newSlice("kube-dns", gateway, podFar))
	l.until("the server's datagrams", l.answering)
	for _, from := range []*netlab.Netns{l.a, l.node} {
		for range 5 {
			l.asks(from, "own")
		}
	}
	if n := l.conntracked("dport=53 "); n != 0 {
		t.Errorf("%d conntrack entries for DNS", n)
	}
	l.refused(l.a, "10.96.0.10:54")
	l.refused(l.node, "10.96.0.10:54")
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	if n := l.conntracked("dport=80 "); n == 0 {
		t.Error("and no entry for a connection that is tracked: conntrack cannot be seen")
	}
}

// answering reports whether the node's own queries go to its own server.
func (l *lab) answering() bool {
	out, err := l.node.Command("nft", "list", "set", plan.NewFamily(l.six).String(), "fairlead", plan.AnsweringSet)
	if err != nil {
		l.t.Fatal(err, out)
	}
	return strings.Contains(out, "elements")
}

// When the node's own DNS server dies, other nodes' servers answer: a pod from
// the next query on, the node itself when nothing was heard for a while. When
// it is back they are not asked any more.
func TestDNSOfOtherNodes(t *testing.T) { inBothFamilies(t, checkDNSOfOtherNodes) }

func checkDNSOfOtherNodes(t *testing.T, l *lab) {
	end := l.nameServer()
	l.start()
	l.put(dnsService(), newSlice("kube-dns", gateway, podFar))
	l.until("the server's datagrams", l.answering)
	l.asks(l.a, "own")
	end()
	l.asks(l.a, "far")
	l.until("the silence to be noticed", func() bool { return !l.answering() })
	l.asks(l.node, "far")
	end = l.nameServer()
	l.asks(l.a, "own")
	l.until("the server's datagrams", l.answering)
	l.asks(l.node, "own")
	end()
	l.asks(l.a, "far")
}

// Without another node there is nobody to answer. The node's own queries and
// a new server still find each other, even before the first datagram, and a
// pod's query is not refused: it is repeated, and then the server is back.
func TestDNSAlone(t *testing.T) { inBothFamilies(t, checkDNSAlone) }

func checkDNSAlone(t *testing.T, l *lab) {
	l.start()
	for _, slice := range []*corev1.Service{nil, dnsService()} {
		if slice != nil {
			l.put(slice, newSlice("kube-dns", gateway))
		}
		l.silent(l.a, dnsAt)
		if _, err := l.a.UDP(netip.Addr{}, l.at(dnsAt), quick); !isTimeout(err) {
			t.Errorf("udp: %v, want silence", err)
		}
		end := l.nameServer()
		l.asks(l.node, "own")
		l.asks(l.a, "own")
		end()
	}
}
