package entry

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errDirect is what is wrong with a connection to the engine's own address.
var errDirect = errors.New("it was made to the address of the engine itself; that is for translated connections only")

// original returns which address and port the client of an accepted TCP connection meant, before this node's rules translated
// them, and the client's own address: the kernel's table of connections knows (SO_ORIGINAL_DST of netfilter). A connection that
// was not translated is an error.
func original(fd int) (meant netip.AddrPort, client netip.Addr, err error) {
	own, err := unix.Getsockname(fd)
	if err != nil {
		return meant, client, fmt.Errorf("address of a connection: %w", err)
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return meant, client, fmt.Errorf("client of a connection: %w", err)
	}
	if _, v6 := own.(*unix.SockaddrInet6); v6 {
		meant, err = original6(fd)
	} else {
		meant, err = original4(fd)
	}
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && meant == addrPort(own):
		err = errDirect
	case err != nil:
		err = fmt.Errorf("what the connection was made to: %w", err)
	}
	return meant, addrPort(peer).Addr(), err
}

// original4 reads a struct sockaddr_in: a call that is for another option of twenty bytes does it.
func original4(fd int) (netip.AddrPort, error) {
	const soOriginalDst = 80
	raw, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := raw.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
}

// original6 reads a struct sockaddr_in6, with which another option begins.
func original6(fd int) (netip.AddrPort, error) {
	const soOriginalDst = 80 // IP6T_SO_ORIGINAL_DST
	raw, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := raw.Addr.Port // in the order of the network
	return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr.Addr), port<<8|port>>8), nil
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
