package alloc

import (
	"math"
	"net/netip"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/29":              "192.0.2.1-192.0.2.6",
		"192.0.2.0/31":              "192.0.2.0-192.0.2.1",
		"192.0.2.7/32":              "192.0.2.7-192.0.2.7",
		"192.0.2.7":                 "192.0.2.7-192.0.2.7",
		"192.0.2.10 - 192.0.2.20":   "192.0.2.10-192.0.2.20",
		"2001:db8::/126":            "2001:db8::1-2001:db8::3",
		"2001:db8::1-2001:db8::1:0": "2001:db8::1-2001:db8::1:0",
	} {
		if r, err := ParseRange(text); err != nil || r.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, r, err, want)
		}
	}
	for text, why := range map[string]string{
		"":                          "must be a network such as",
		"-":                         "must be a network such as",
		"nonsense":                  "must be a network such as",
		"192.0.2.0/33":              "must be a network such as",
		"192.0.2.1/29":              "must be the network's own address, 192.0.2.0/29",
		"192.0.2.9-192.0.2.8":       "must not end before it begins",
		"192.0.2.9-2001:db8::1":     "of one family",
		"::ffff:192.0.2.1":          "written as IPv6",
		"fe80::1%eth0":              "must be a network such as",
		"fe80::1-fe80::2":           "link-local",
		"127.0.0.1-127.0.0.9":       "loopback",
		"0.0.0.0/0":                 "the unspecified address",
		"10.0.0.0-224.0.0.1":        "loopback",
		"223.255.255.0-224.0.0.5":   "multicast",
		"255.255.255.255":           "reserved",
		"::/0":                      "the loopback address",
		"ff02::1":                   "multicast",
		"169.254.10.0/24":           "link-local",
		"192.0.2.1-192.0.2.2-1.1.1": "must be a network such as",
	} {
		if r, err := ParseRange(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, %v; want %s", text, r, err, why)
		}
	}
}

func TestRanges(t *testing.T) {
	rs, err := ParseRanges([]string{"192.0.2.10-192.0.2.12", "2001:db8::/64", "198.51.100.0/30"})
	if err != nil {
		t.Fatal(err)
	}
	if rs.Size() != math.MaxInt64 || rs[:1].Size() != 3 || rs[2:].Size() != 2 {
		t.Errorf("sizes %d, %d, %d", rs.Size(), rs[:1].Size(), rs[2:].Size())
	}
	taken := map[netip.Addr]bool{}
	var got []string
	for range 6 {
		a := rs.Next(true, netip.Addr{}, func(a netip.Addr) bool { return taken[a] })
		taken[a] = true
		got = append(got, a.String())
	}
	if want := "192.0.2.10 192.0.2.11 192.0.2.12 198.51.100.1 198.51.100.2 invalid IP"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	none := func(netip.Addr) bool { return false }
	if a := rs.Next(true, netip.MustParseAddr("192.0.2.12"), none); a.String() != "192.0.2.12" {
		t.Errorf("from 192.0.2.12: %s", a)
	}
	if a := rs.Next(false, netip.Addr{}, none); a.String() != "2001:db8::1" {
		t.Errorf("the first of IPv6: %s", a)
	}
	if _, err := ParseRanges([]string{"192.0.2.0/24", "192.0.2.254-192.0.3.1"}); err == nil || !strings.Contains(err.Error(), "must not overlap another") {
		t.Errorf("two that overlap: %v", err)
	}
}
