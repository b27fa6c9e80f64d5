package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"

	"fairlead.dev/fairlead/host/netns"
)

// TestNodesReachEachOtherAndTheHost builds a lab of two nodes inside a namespace that plays the host.
func TestNodesReachEachOtherAndTheHost(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := netns.Create(host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.Remove(host) })
	err := netns.Do(host, func() error {
		number, err := FreeNumber()
		if err != nil {
			return err
		}
		subnets := Subnets(number, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/112")})
		l := Lab{Name: "t", Dir: filepath.Join(t.TempDir(), "netns"), Subnets: subnets}
		defer func() {
			if err := l.Remove(); err != nil {
				t.Error(err)
			}
		}()
		for range 2 { // a second time changes nothing
			if err := l.Create(2); err != nil {
				return err
			}
		}
		other := Lab{Name: "t", Dir: filepath.Join(t.TempDir(), "netns"), Subnets: subnets}
		if err := other.Create(1); err == nil || !strings.Contains(err.Error(), "another lab has the name") {
			t.Errorf("a second lab of the same name: %v", err)
		}
		if err := other.Remove(); err != nil {
			t.Error(err)
		}
		nodes := l.Nodes(2)
		for i := range subnets {
			if err := talk(nodes[0], i, nodes[1].Netns); err != nil {
				t.Errorf("node2 to node1 at %s: %v", nodes[0].Addrs[i], err)
			}
			if err := talk(nodes[1], i, host); err != nil {
				t.Errorf("host to node2 at %s: %v", nodes[1].Addrs[i], err)
			}
		}
		if err := knock(t.Context(), l, nodes[0], host); err != nil {
			t.Error(err)
		}
		if err := netns.Do(l.fabric(), steady); err != nil {
			t.Error(err)
		}
		return stranded(nodes[0])
	})
	if err != nil {
		t.Fatal(err)
	}
}

// steady lets a machine with a low link address come to the fabric: the bridge keeps its own, by which others know the API server.
func steady() error {
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return err
	}
	low := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "low", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MasterIndex: bridge.Attrs().Index}, PeerName: "far"}
	if err := netlink.LinkAdd(low); err != nil {
		return err
	}
	defer netlink.LinkDel(low)
	after, err := netlink.LinkByName("br0")
	if err == nil && after.Attrs().HardwareAddr.String() != bridge.Attrs().HardwareAddr.String() {
		err = fmt.Errorf("the fabric's link address was %s and is %s", bridge.Attrs().HardwareAddr, after.Attrs().HardwareAddr)
	}
	return err
}

// knock listens where the API server does, beside somebody who listens everywhere on the host, and connects from a node and
// from the host.
func knock(ctx context.Context, l Lab, node Node, host string) error {
	for _, addr := range l.API() {
		first, err := net.Listen("tcp", ":0")
		if err != nil {
			return err
		}
		defer first.Close()
		at := netip.AddrPortFrom(addr, first.Addr().(*net.TCPAddr).AddrPort().Port())
		ln, err := l.Listen(ctx, "tcp", at.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		for _, from := range []string{node.Netns, host} {
			if err := netns.Do(from, func() error {
				conn, err := net.Dial("tcp", at.String())
				if err == nil {
					conn.Close()
				}
				return err
			}); err != nil {
				return fmt.Errorf("%s from %s: %w", at, from, err)
			}
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			conn.Close()
		}
	}
	return nil
}

// stranded returns an error if a node knows a way to an address that is outside of its lab, such as another of the host's.
func stranded(node Node) error {
	return netns.Do(node.Netns, func() error {
		for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
			if conn, err := net.Dial("udp", to); err == nil {
				conn.Close()
				return fmt.Errorf("%s has a way to %s", node.Name, to)
			} else if !errors.Is(err, unix.ENETUNREACH) {
				return err
			}
		}
		return nil
	})
}

func TestSubnets(t *testing.T) {
	six, four := netip.MustParsePrefix("fd00::/112"), netip.MustParsePrefix("10.96.0.0/12")
	l := Lab{Subnets: Subnets(123, []netip.Prefix{six, four})}
	if got := fmt.Sprint(l.Subnets, l.Host(), l.API(), l.Nodes(2)[1].Addrs); got != "[fd00:10:88:123::/64 10.88.123.0/24] [fd00:10:88:123::1 10.88.123.1] [fd00:10:88:123::2 10.88.123.2] [fd00:10:88:123::12 10.88.123.12]" {
		t.Error(got)
	}
	if got := l.Nodes(50)[49].Addrs[0].String(); got != "fd00:10:88:123::60" {
		t.Error(got)
	}
}

// talk listens on a node's i-th address and connects to it from another namespace.
func talk(node Node, i int, from string) error {
	var ln net.Listener
	err := netns.Do(node.Netns, func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(node.Addrs[i], 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	return netns.Do(from, func() error {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 5))
		return err
	})
}
