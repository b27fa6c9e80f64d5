package packet

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/netlab"
)

const (
	protoTCP  = "tcp"
	protoSCTP = "132"
)

// rawConn sends and receives the segments of one transport protocol, of all
// connections of a machine.
func (l *lab) rawConn(on machine, protocol string) net.PacketConn {
	l.t.Helper()
	network := "ip4:"
	if on.ip.Is6() {
		network = "ip6:"
	}
	var c net.PacketConn
	var err error
	on.Do(func() { c, err = net.ListenPacket(network+protocol, on.ip.String()) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// segment is a transport segment as a machine received it.
type segment struct {
	from netip.Addr
	data []byte
}

func (s segment) ports() (from, to uint16) {
	return binary.BigEndian.Uint16(s.data), binary.BigEndian.Uint16(s.data[2:])
}

// receive waits for a segment to a port.
func (l *lab) receive(c net.PacketConn, port uint16, wait time.Duration) (segment, error) {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	for {
		p := make([]byte, 2000)
		n, from, err := c.ReadFrom(p)
		if err != nil {
			return segment{}, err
		}
		addr, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		s := segment{addr.Unmap(), p[:n]}
		if n < 12 {
			continue
		}
		if _, to := s.ports(); to == port {
			return s, nil
		}
	}
}

func (l *lab) transmit(c net.PacketConn, to netip.Addr, data []byte) {
	l.t.Helper()
	if _, err := c.WriteTo(data, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		l.t.Fatal(err)
	}
}

// sctpInit is the first packet of an SCTP association.
func sctpInit(from, to uint16) []byte {
	p := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
	p = append(p, 0, 0, 0, 0, 0, 0, 0, 0) // no tag yet; checksum
	p = append(p, 1, 0, 0, 20)            // INIT
	p = append(p, 0, 0, 0, 7, 0, 1, 0, 0) // our tag, window
	p = append(p, 0, 1, 0, 1, 0, 0, 0, 1) // streams, first number
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(p[8:], sum)
	return p
}

// SCTP is translated like the others. This kernel has no SCTP of its own, so the
// packets are made here.
func TestP53_SCTP(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("sctp")
		s.Spec.Ports = []corev1.ServicePort{{Name: "sctp", Port: 80, Protocol: corev1.ProtocolSCTP}}
		slice := l.slice(s, ready(l.b1)...)
		slice.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("sctp"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolSCTP)}}
		l.put(s, slice)
		server, pod, outside := l.rawConn(l.b1, protoSCTP), l.rawConn(l.a1, protoSCTP), l.rawConn(l.out, protoSCTP)
		l.transmit(pod, vip(s).Addr(), sctpInit(5000, 80))
		if got, err := l.receive(server, 8080, patient); err != nil || got.from != l.a1.ip {
			l.t.Errorf("from a pod: %+v, %v", got, err)
		}
		l.transmit(outside, vip(s).Addr(), sctpInit(5001, 80))
		if got, err := l.receive(server, 8080, patient); err != nil || got.from != l.a.ip {
			l.t.Errorf("from outside: %+v, %v", got, err)
		}
		l.refused(l.a1, vip(s)) // neither TCP nor UDP
	})
}

// A packet of a server that conntrack cannot place is not passed on as it is: the
// client would not know whom it is from and reset the server's connection.
func TestP62_InvalidPacketsAreDropped(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.b1)...))
		disturb := func() net.Conn {
			server := l.rawConn(l.b1, protoTCP)
			c := l.dial(l.a1, "tcp", vip(s))
			l.askOn(c)
			if _, err := netlab.AskAgain(c, patient); err != nil {
				l.t.Fatal(err)
			}
			var last segment
			for {
				got, err := l.receive(server, 8080, quick)
				if err != nil {
					break // what came last says where both sides are
				}
				last = got
			}
			client, _ := last.ports()
			length := len(last.data) - int(last.data[12]>>4)*4
			p := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 8080), client)
			p = binary.BigEndian.AppendUint32(p, binary.BigEndian.Uint32(last.data[8:])+1<<30) // far outside the window
			p = binary.BigEndian.AppendUint32(p, binary.BigEndian.Uint32(last.data[4:])+uint32(length))
			p = append(p, 5<<4, 0x10, 0x10, 0, 0, 0, 0, 0) // ACK
			binary.BigEndian.PutUint16(p[16:], tcpChecksum(l.b1.ip, l.a1.ip, p))
			l.transmit(server, l.a1.ip, p)
			return c
		}
		if _, err := netlab.AskAgain(disturb(), patient); err != nil {
			l.t.Errorf("after a stray packet: %v", err)
		}
		// The control: without the rules of the forward hook, the connection breaks.
		family := "ip"
		if l.f.cluster.Addr().Is6() {
			family = "ip6"
		}
		for _, n := range []*node{l.a, l.b} {
			n.stop()
			l.command(n.machine, "nft", "flush", "chain", family, "fairlead", "forward")
		}
		c := disturb()
		l.until("the unprotected connection to break", func() bool {
			_, err := netlab.AskAgain(c, quick)
			return err != nil
		})
	})
}

// tcpChecksum is the checksum of a segment whose own field is zero.
func tcpChecksum(from, to netip.Addr, segment []byte) uint16 {
	sum := uint32(6) + uint32(len(segment))
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), segment} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
