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

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "010.000.0.0/8": "10.0.0.0/8", "::ffff:10.0.0.0/104": "10.0.0.0/8",
		"fd00::1/64": "fd00::/64", "0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0",
	} {
		if p, ok := ParsePrefix(text); !ok || p.String() != want {
			t.Errorf("%s: %v %t, want %s", text, p, ok, want)
		}
	}
	for _, text := range []string{"", "10.0.0.0", "10.0.0.0/33", "fe80::%eth0/64", "a/8"} {
		if p, ok := ParsePrefix(text); ok {
			t.Errorf("%q is taken for %v", text, p)
		}
	}
}

func TestLastAddr(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "10.255.255.255", "10.1.2.3/32": "10.1.2.3", "0.0.0.0/0": "255.255.255.255", "fd00::/127": "fd00::1", "10.0.0.8/30": "10.0.0.11"} {
		if got := LastAddr(netip.MustParsePrefix(text)); got.String() != want {
			t.Errorf("%s: %s, want %s", text, got, want)
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
