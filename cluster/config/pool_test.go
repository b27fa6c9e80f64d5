package config

import (
	"fmt"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api/kinds"
)

func TestPool(t *testing.T) {
	for _, c := range []struct {
		flags, saved Config
		want         string
	}{
		{Config{}, Config{}, "false <nil>"},
		{Config{LBPool: "auto"}, Config{}, "true <nil>"},
		{Config{}, Config{LBPool: "auto"}, "true <nil>"},
		{Config{LBPool: "none"}, Config{LBPool: "auto"}, "false <nil>"},
		{Config{LBPool: "192.0.2.0/28, 192.0.2.20-192.0.2.30"}, Config{}, "false [192.0.2.0/28 192.0.2.20-192.0.2.30] [] []"},
		{Config{LBPool: "auto"}, Config{LBPool: "auto=10.89.3.0/24"}, "false [10.89.3.0/24] [None] [10.89.3.0/24]"},
		{Config{LBPool: "192.0.2.1"}, Config{LBPool: "auto=10.89.3.0/24"}, "false [192.0.2.1] [] []"},
		{Config{LBPool: "192.0.2.1,2001:db8::/120", DualStack: true}, Config{}, "false [192.0.2.1 2001:db8::/120] [] []"},
	} {
		s, err := Resume(withDir(t, c.flags), c.saved)
		got := fmt.Sprint(s.Pool.Auto, " ", s.Pool.Spec)
		if s.Pool.Spec != nil {
			got = fmt.Sprint(s.Pool.Auto, " ", s.Pool.Spec.Addresses, " ", s.Pool.Spec.Announce, " ", s.Pool.Routed)
		}
		if err != nil || got != c.want {
			t.Errorf("%q after %q: %s, %v; want %s", c.flags.LBPool, c.saved.LBPool, got, err, c.want)
		}
	}
	for text, why := range map[string]string{
		"automatic": "must be a network such as", "10.96.4.0/24": "must not overlap 10.96.0.0/12", "10.244.0.1-10.244.0.9": "must not overlap 10.244.0.0/16",
		"2001:db8::/120": "is of IPv6, and Services have addresses of IPv4 only", "192.0.2.1,192.0.2.0/28": "must not overlap another",
		"127.0.0.1": "loopback", "192.0.2.9-192.0.2.1": "must not end before it begins", "auto=192.0.2.1-192.0.2.9": "must be a network",
	} {
		if _, err := Resolve(withDir(t, Config{LBPool: text})); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), fmt.Sprintf("lb-pool %q", text)) {
			t.Errorf("%s: %v, want %s", text, err, why)
		}
	}
}

func TestFreePool(t *testing.T) {
	for _, c := range []struct {
		flags       Config
		taken, want string
	}{
		{Config{}, "", "10.89.0.0/24"},
		{Config{}, "10.89.0.0/23 10.89.2.7/32", "10.89.3.0/24"},
		{Config{DualStack: true}, "fd00:10:89::/64", "10.89.0.0/24 fd00:10:8a::/112"},
	} {
		s, err := Resolve(withDir(t, c.flags))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.FreePool(prefixes(c.taken))
		if err != nil || strings.Trim(fmt.Sprint(got), "[]") != c.want {
			t.Errorf("beside %s: %v, %v; want %s", c.taken, got, err, c.want)
			continue
		}
		again, err := Resume(withDir(t, c.flags), Config{LBPool: Chosen(got)})
		if err != nil || len(again.Pool.Routed) != len(got) || again.Pool.Spec.Announce[0] != kinds.AnnounceNone {
			t.Errorf("chosen %s: %+v, %v", Chosen(got), again.Pool, err)
		}
	}
	s, _ := Resolve(withDir(t, Config{}))
	if _, err := s.FreePool(prefixes("10.0.0.0/8")); err == nil || !strings.Contains(err.Error(), "give ranges with --lb-pool") {
		t.Errorf("nothing is free: %v", err)
	}
}
