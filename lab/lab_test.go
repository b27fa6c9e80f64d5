package lab

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/netns"
)

// TestNodesReachEachOtherAndTheHost builds a lab of two nodes inside a namespace that plays the host.
func TestNodesReachEachOtherAndTheHost(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := netns.Create(host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.Remove(host) })
	err := netns.Do(host, func() error {
		subnet, err := FreeSubnet()
		if err != nil {
			return err
		}
		l := Lab{Name: "t", Dir: filepath.Join(t.TempDir(), "netns"), Subnet: subnet}
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
		other := Lab{Name: "t", Dir: filepath.Join(t.TempDir(), "netns"), Subnet: subnet}
		if err := other.Create(1); err == nil || !strings.Contains(err.Error(), "another lab has the name") {
			t.Errorf("a second lab of the same name: %v", err)
		}
		if err := other.Remove(); err != nil {
			t.Error(err)
		}
		nodes := l.Nodes(2)
		if err := talk(nodes[0], nodes[1].Netns); err != nil {
			t.Errorf("node2 to node1: %v", err)
		}
		if err := talk(nodes[1], host); err != nil {
			t.Errorf("host to node2: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// talk listens on a node and connects to it from another namespace.
func talk(node Node, from string) error {
	var ln net.Listener
	err := netns.Do(node.Netns, func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(node.Addr, 0)))
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
