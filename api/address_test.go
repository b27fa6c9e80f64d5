package api

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestParseAddr(t *testing.T) {
	for text, want := range map[string]string{ // empty: no address
		"10.0.0.1": "10.0.0.1", "010.000.0.01": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "FD00::1": "fd00::1", "fd00:0:0::1": "fd00::1",
		"": "", "10.0.0": "", "10.0.0.256": "", "example.org": "", "fe80::1%eth0": "", "10.0.0.1/24": "",
	} {
		addr, ok := ParseAddr(text)
		if ok != (want != "") || ok && addr.String() != want {
			t.Errorf("%q is %v %v, want %q", text, addr, ok, want)
		}
		if ok && Canonical(addr, text) != want {
			t.Errorf("%q is written as %q, want %q", text, Canonical(addr, text), want)
		}
	}
}

func TestFamily(t *testing.T) {
	for text, want := range map[string]corev1.IPFamily{"10.0.0.1": "IPv4", "::ffff:10.0.0.1": "IPv4", "fd00::1": "IPv6"} {
		if got := Family(netip.MustParseAddr(text)); got != want || string(AddressType(got)) != string(want) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestReachable(t *testing.T) {
	for text, c := range map[string]struct{ noHost, reachable bool }{
		"10.0.0.1": {false, true}, "fd00::1": {false, true}, "2001:db8::1": {false, true},
		"0.0.0.0": {true, false}, "::": {true, false}, "127.0.0.1": {true, false}, "::1": {true, false}, "169.254.1.1": {true, false},
		"fe80::1": {true, false}, "224.0.0.1": {true, false}, "ff02::1": {true, false},
		"239.1.1.1": {false, false}, "ff05::1": {false, false}, "255.255.255.255": {false, false}, // which the API takes
	} {
		addr := netip.MustParseAddr(text)
		if got := NoHost(addr); got != c.noHost {
			t.Errorf("%s means no host: %v, want %v", text, got, c.noHost)
		}
		if got := Reachable(addr); got != c.reachable {
			t.Errorf("%s is reachable: %v, want %v", text, got, c.reachable)
		}
	}
}
