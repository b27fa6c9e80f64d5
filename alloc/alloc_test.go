package alloc

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
)

func addresses(t *testing.T, prefix string) *Addresses {
	t.Helper()
	a, err := NewAddresses(netip.MustParsePrefix(prefix))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestS22_S23_AFixedAddressIsTakenOnce(t *testing.T) {
	a := addresses(t, "10.96.0.0/12")
	addr := netip.MustParseAddr("10.97.72.1")
	if err := a.Take(addr); err != nil {
		t.Fatal(err)
	}
	if err := a.Take(addr); err == nil || err.Error() != "provided IP is already allocated" {
		t.Errorf("taking it again: %v", err)
	}
	a.Release(addr)
	if err := a.Take(addr); err != nil {
		t.Errorf("after release: %v", err)
	}
}

func TestS24_OutsideTheRange(t *testing.T) {
	a := addresses(t, "10.96.0.0/12")
	for _, addr := range []string{"192.168.0.1", "10.95.255.255", "10.112.0.0", "fd00::1"} {
		err := a.Take(netip.MustParseAddr(addr))
		if want := "provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12"; err == nil || err.Error() != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestS25_AFullRange(t *testing.T) {
	a := addresses(t, "10.0.0.0/29")
	seen := map[netip.Addr]bool{}
	for range 6 {
		addr, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was handed out twice", addr)
		}
		seen[addr] = true
	}
	if _, err := a.Next(); !errors.Is(err, ErrFull) || err.Error() != "range is full" {
		t.Errorf("the seventh of six: %v", err)
	}
	if _, err := a.Peek(); !errors.Is(err, ErrFull) {
		t.Errorf("peeking into a full range: %v", err)
	}
	a.Release(netip.MustParseAddr("10.0.0.3"))
	if got, err := a.Next(); err != nil || got.String() != "10.0.0.3" {
		t.Errorf("after releasing 10.0.0.3: %v, %v", got, err)
	}
}

func TestS26_UsableAddresses(t *testing.T) {
	tests := []struct {
		prefix, first, last string
		refused             []string
		count               int
	}{
		{"10.0.0.0/30", "10.0.0.1", "10.0.0.2", []string{"10.0.0.0", "10.0.0.3"}, 2},
		{"10.96.0.0/12", "10.96.0.1", "10.111.255.254", []string{"10.96.0.0", "10.111.255.255"}, 1<<20 - 2},
		{"fd00::/112", "fd00::1", "fd00::ffff", []string{"fd00::"}, 1<<16 - 1},
		{"fd00::/64", "fd00::1", "fd00::f:ffff", []string{"fd00::", "fd00::10:0", "fd00::1:0:0:1"}, 1<<20 - 1},
		{"fd00::ffff:0:0/96", "fd00::ffff:0:1", "fd00::ffff:f:ffff", []string{"fd00::1"}, 1<<20 - 1},
	}
	for _, test := range tests {
		a := addresses(t, test.prefix)
		if a.Free() != test.count {
			t.Errorf("%s: %d usable, want %d", test.prefix, a.Free(), test.count)
		}
		for _, addr := range []string{test.first, test.last} {
			if err := a.Take(netip.MustParseAddr(addr)); err != nil {
				t.Errorf("%s: %s: %v", test.prefix, addr, err)
			}
		}
		for _, addr := range test.refused {
			var out RangeError
			if err := a.Take(netip.MustParseAddr(addr)); !errors.As(err, &out) {
				t.Errorf("%s: %s: %v", test.prefix, addr, err)
			}
		}
	}
	for _, prefix := range []string{"10.0.0.0/31", "10.0.0.0/32"} {
		if _, err := NewAddresses(netip.MustParsePrefix(prefix)); err == nil {
			t.Errorf("%s was accepted", prefix)
		}
	}
	if _, err := NewAddresses(netip.Prefix{}); err == nil {
		t.Error("no prefix was accepted")
	}
}

func TestS27_TheLowerBandIsUsedLast(t *testing.T) {
	for _, test := range []struct {
		prefix string
		band   int
	}{{"10.0.0.0/28", 0}, {"10.0.0.0/26", 16}, {"10.0.0.0/24", 16}, {"10.0.0.0/22", 64}, {"10.0.0.0/20", 256}, {"10.0.0.0/12", 256}} {
		if a := addresses(t, test.prefix); a.bits.band != test.band {
			t.Errorf("%s: the lower band is %d, want %d", test.prefix, a.bits.band, test.band)
		}
	}
	a := addresses(t, "10.0.0.0/26") // 62 usable, 16 of them in the lower band
	low := 0
	for i := range 62 {
		addr, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		lower := addr.As4()[3] <= 16
		if lower {
			low++
		}
		if lower != (i >= 46) {
			t.Fatalf("allocation %d is %s", i, addr)
		}
	}
	if low != 16 {
		t.Errorf("%d of the lower band were handed out", low)
	}
}

func TestS31_PeekAndCheckReserveNothing(t *testing.T) {
	a := addresses(t, "10.0.0.0/24")
	addr, err := a.Peek()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(addr); err != nil {
		t.Error(err)
	}
	if a.Used() != 0 {
		t.Errorf("%d are used", a.Used())
	}
	p, err := NewPorts(PortRange{30000, 30001})
	if err != nil {
		t.Fatal(err)
	}
	port, err := p.Peek()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(port); err != nil || p.Used() != 0 {
		t.Errorf("%v, %d used", err, p.Used())
	}
}

func TestS60_S61_S64_S65_Ports(t *testing.T) {
	p, err := NewPorts(PortRange{30000, 32767})
	if err != nil {
		t.Fatal(err)
	}
	if p.bits.size != 2768 || p.bits.band != 86 {
		t.Errorf("size %d, lower band %d", p.bits.size, p.bits.band)
	}
	for range 2768 - 86 {
		port, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		if port < 30086 {
			t.Fatalf("%d was chosen while the upper band had room", port)
		}
	}
	if port, err := p.Next(); err != nil || port >= 30086 {
		t.Errorf("with the upper band full: %d, %v", port, err)
	}
	if err := p.Take(31000); err == nil || err.Error() != "provided port is already allocated" {
		t.Errorf("31000: %v", err)
	}
	for _, port := range []int{29999, 32768, 0, -1} {
		if err := p.Take(port); err == nil || err.Error() != "provided port is not in the valid range. The range of valid ports is 30000-32767" {
			t.Errorf("%d: %v", port, err)
		}
	}
	p.Release(31000)
	if err := p.Take(31000); err != nil {
		t.Error(err)
	}
	for _, bad := range []PortRange{{0, 10}, {10, 9}, {65535, 65536}} {
		if _, err := NewPorts(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestConcurrentAllocationsAreDistinct(t *testing.T) {
	a := addresses(t, "10.0.0.0/20")
	var mu sync.Mutex
	var group sync.WaitGroup
	seen := map[netip.Addr]bool{}
	for range 8 {
		group.Go(func() {
			for range 256 {
				addr, err := a.Next()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[addr] {
					t.Errorf("%s twice", addr)
				}
				seen[addr] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if a.Used() != 2048 || len(seen) != 2048 {
		t.Errorf("%d used, %d seen", a.Used(), len(seen))
	}
}

func BenchmarkNext(b *testing.B) {
	a, err := NewAddresses(netip.MustParsePrefix("10.96.0.0/12"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		addr, err := a.Next()
		if err != nil {
			b.Fatal(err)
		}
		a.Release(addr)
	}
}
