// Package proxyproto reads the header by which a load balancer says whose
// connection it is that it passes on: PROXY protocol, versions 1 and 2
// (haproxy.org, proxy-protocol.txt).
package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// Lengths of headers in bytes: the longest of version 1, and what of version 2 says the rest.
const (
	longestV1 = 107
	fixedV2   = 16
	longestV2 = 4096 // addresses, and whatever else a load balancer adds
)

// Read reads a header and returns the client's address, which is not valid when the load balancer speaks for itself
// (a health check) or the address is of a kind that is no IP.
func Read(r *bufio.Reader) (netip.AddrPort, error) {
	begin, err := r.Peek(1)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the header of PROXY protocol: %w", err)
	}
	if begin[0] == signature[0] {
		return readV2(r)
	}
	return readV1(r)
}

func readV1(r *bufio.Reader) (none netip.AddrPort, err error) {
	line := make([]byte, 0, longestV1)
	for len(line) == 0 || line[len(line)-1] != '\n' {
		if len(line) == longestV1 {
			return none, errors.New("the header of PROXY protocol does not end")
		}
		b, err := r.ReadByte()
		if err != nil {
			return none, fmt.Errorf("read the header of PROXY protocol: %w", err)
		}
		if line = append(line, b); len(line) <= 6 && line[len(line)-1] != "PROXY "[len(line)-1] {
			return none, errors.New("it has no header of PROXY protocol")
		}
	}
	text, ends := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	switch {
	case ends && len(words) >= 2 && words[1] == "UNKNOWN":
		return none, nil
	case !ends || len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
		return none, fmt.Errorf("the header of PROXY protocol is no such: %q", line)
	}
	from, err := address(words[2], words[4], words[1] == "TCP6")
	if err != nil {
		return none, err
	}
	_, err = address(words[3], words[5], words[1] == "TCP6")
	return from, err
}

func address(ip, port string, v6 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() == v6 || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("the header of PROXY protocol has the address %q", ip)
	}
	p, err := netip.ParseAddrPort("0.0.0.0:" + port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the header of PROXY protocol has the port %q", port)
	}
	return netip.AddrPortFrom(a.Unmap(), p.Port()), nil
}

func readV2(r *bufio.Reader) (none netip.AddrPort, err error) {
	var head [fixedV2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return none, fmt.Errorf("read the header of PROXY protocol: %w", err)
	}
	rest := int(binary.BigEndian.Uint16(head[14:]))
	switch {
	case !bytes.Equal(head[:12], signature):
		return none, errors.New("it has no header of PROXY protocol")
	case head[12]>>4 != 2 || head[12]&15 > 1:
		return none, fmt.Errorf("PROXY protocol has version and command %#x, which nobody has defined", head[12])
	case rest > longestV2:
		return none, fmt.Errorf("the header of PROXY protocol has %d bytes", rest)
	}
	body := make([]byte, rest)
	if _, err := io.ReadFull(r, body); err != nil {
		return none, fmt.Errorf("read the header of PROXY protocol: %w", err)
	}
	if head[12]&15 == 0 { // LOCAL
		return none, nil
	}
	var size int
	switch head[13] {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return none, nil
	}
	if len(body) < 2*size+4 {
		return none, errors.New("the header of PROXY protocol is too short for its addresses")
	}
	a, _ := netip.AddrFromSlice(body[:size]) // 4 or 16 bytes
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
