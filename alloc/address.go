package alloc

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
)

// mostAddresses bounds the bitmap of one range to 128 KiB. An IPv4 /12 fits exactly; of a larger range, in practice of
// every IPv6 one, the addresses beyond it are not handed out (upstream stops at 65 536 for IPv6).
const mostAddresses = 1 << 20

// Addresses hands out the addresses of one prefix. The network address and, of an IPv4 prefix, the broadcast address
// are never handed out (rule S26), so the first usable address is the network's plus one.
type Addresses struct {
	prefix netip.Prefix
	mu     sync.Mutex
	bits   bitmap // bit n is the address n+1
}

// NewAddresses returns the range of prefix with nothing taken. It fails when the prefix has no usable address.
func NewAddresses(prefix netip.Prefix) (*Addresses, error) {
	if !prefix.IsValid() {
		return nil, fmt.Errorf("service address range: %q is not a prefix", prefix)
	}
	host := prefix.Addr().BitLen() - prefix.Bits()
	size := mostAddresses
	if host < 20 {
		size = 1 << host
	}
	usable := size - 1
	if prefix.Addr().Is4() {
		usable-- // broadcast
	}
	if usable < 1 {
		return nil, fmt.Errorf("service address range %s: it holds no usable address; give a larger one, such as 10.96.0.0/12", prefix)
	}
	return &Addresses{prefix: prefix.Masked(), bits: newBitmap(usable, band(size, 16, 256))}, nil
}

// Prefix is the range.
func (a *Addresses) Prefix() netip.Prefix { return a.prefix }

// Take reserves addr. It fails with a RangeError or a TakenError.
func (a *Addresses) Take(addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.index(addr)
	if !ok {
		return a.outside()
	}
	if !a.bits.take(n) {
		return TakenError{"IP"}
	}
	return nil
}

// Check says what Take would, and reserves nothing.
func (a *Addresses) Check(addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.index(addr)
	if !ok {
		return a.outside()
	}
	if a.bits.has(n) {
		return TakenError{"IP"}
	}
	return nil
}

// Next chooses and reserves an address. It fails with ErrFull.
func (a *Addresses) Next() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.bits.free()
	if !ok {
		return netip.Addr{}, ErrFull
	}
	a.bits.take(n)
	return a.address(n), nil
}

// Peek chooses an address as Next does, and reserves nothing.
func (a *Addresses) Peek() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.bits.free()
	if !ok {
		return netip.Addr{}, ErrFull
	}
	return a.address(n), nil
}

// Release gives addr back. An address outside the range or not reserved is ignored.
func (a *Addresses) Release(addr netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.index(addr); ok {
		a.bits.release(n)
	}
}

// Used is the number of reserved addresses.
func (a *Addresses) Used() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bits.used
}

// Free is the number of addresses left.
func (a *Addresses) Free() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bits.size - a.bits.used
}

func (a *Addresses) outside() error { return RangeError{"IP", a.prefix.String()} }

// index is the bit of addr. The bitmap never spans more than the low 32 bits of an address, so the subtraction is
// done on those once the prefix is known to contain it.
func (a *Addresses) index(addr netip.Addr) (int, bool) {
	addr = addr.Unmap()
	if !a.prefix.Contains(addr) || !sameHigh(addr, a.prefix.Addr()) {
		return 0, false
	}
	n := int64(low(addr)) - int64(low(a.prefix.Addr())) - 1
	if n < 0 || n >= int64(a.bits.size) {
		return 0, false
	}
	return int(n), true
}

func (a *Addresses) address(n int) netip.Addr {
	bytes := a.prefix.Addr().AsSlice()
	tail := bytes[len(bytes)-4:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)+uint32(n)+1)
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

func low(addr netip.Addr) uint32 {
	bytes := addr.AsSlice()
	return binary.BigEndian.Uint32(bytes[len(bytes)-4:])
}

// sameHigh reports whether two addresses of one family agree in all but their low 32 bits.
func sameHigh(a, b netip.Addr) bool {
	if a.Is4() {
		return true
	}
	x, y := a.As16(), b.As16()
	return [12]byte(x[:12]) == [12]byte(y[:12])
}
