package alloc

import (
	"fmt"
	"sync"
)

// PortRange is an inclusive range of ports, for example 30000-32767.
type PortRange struct {
	First, Last int
}

// String is the range as users write it.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Contains reports whether port is in the range.
func (r PortRange) Contains(port int) bool { return port >= r.First && port <= r.Last }

// Ports hands out the ports of one range. It does not tell TCP from UDP: one port is one number (rule S66).
type Ports struct {
	ports PortRange
	mu    sync.Mutex
	bits  bitmap
}

// NewPorts returns the range with nothing taken. It fails when the range is empty or leaves 1-65535.
func NewPorts(ports PortRange) (*Ports, error) {
	if ports.First < 1 || ports.Last > 65535 || ports.First > ports.Last {
		return nil, fmt.Errorf("node port range %s: it must lie within 1-65535, such as 30000-32767", ports)
	}
	size := ports.Last - ports.First + 1
	return &Ports{ports: ports, bits: newBitmap(size, band(size, 32, 128))}, nil
}

// Range is the range.
func (p *Ports) Range() PortRange { return p.ports }

// Take reserves port. It fails with a RangeError or a TakenError.
func (p *Ports) Take(port int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ports.Contains(port) {
		return p.outside()
	}
	if !p.bits.take(port - p.ports.First) {
		return TakenError{"port"}
	}
	return nil
}

// Check says what Take would, and reserves nothing.
func (p *Ports) Check(port int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ports.Contains(port) {
		return p.outside()
	}
	if p.bits.has(port - p.ports.First) {
		return TakenError{"port"}
	}
	return nil
}

// Next chooses and reserves a port. It fails with ErrFull.
func (p *Ports) Next() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.bits.free()
	if !ok {
		return 0, ErrFull
	}
	p.bits.take(n)
	return p.ports.First + n, nil
}

// Peek chooses a port as Next does, and reserves nothing.
func (p *Ports) Peek() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.bits.free()
	if !ok {
		return 0, ErrFull
	}
	return p.ports.First + n, nil
}

// Release gives port back. A port outside the range or not reserved is ignored.
func (p *Ports) Release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ports.Contains(port) {
		p.bits.release(port - p.ports.First)
	}
}

// Used is the number of reserved ports.
func (p *Ports) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bits.used
}

func (p *Ports) outside() error { return RangeError{"port", p.ports.String()} }
