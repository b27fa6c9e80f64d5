package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestApart(t *testing.T) {
	for _, c := range []struct {
		flags          Config
		pods, services string // taken
		want           string // pods and Services
	}{
		{Config{}, "", "", "10.244.0.0/16 10.96.0.0/12"},
		{Config{}, "10.244.0.0/16", "", "10.245.0.0/16 10.96.0.0/12"},
		{Config{}, "10.244.3.0/24 10.245.0.0/16 10.246.0.0/15", "", "10.248.0.0/16 10.96.0.0/12"},
		{Config{}, "10.240.0.0/12 10.0.0.0/16", "", "10.1.0.0/16 10.96.0.0/12"},
		{Config{}, "10.0.0.0/8", "", "10.244.0.0/16 10.96.0.0/12"},
		{Config{PodCIDR: "10.244.0.0/17"}, "10.244.0.0/16", "", "10.244.0.0/17 10.96.0.0/12"},
		{Config{}, "", "10.100.0.0/16", "10.244.0.0/16 10.112.0.0/12"},
		{Config{DualStack: true}, "10.244.0.0/16 fd00:10:244::/56", "", "10.245.0.0/16,fd00:10:245::/56 10.96.0.0/12,fd00:10:96::/112"},
		{Config{ServiceCIDR: "fd00:10:96::/112"}, "fd00:10:244::/56", "", "fd00:10:245::/56 fd00:10:96::/112"},
	} {
		s, err := Resolve(withDir(t, c.flags))
		if err != nil {
			t.Fatal(err)
		}
		s, err = Resume(withDir(t, c.flags), s.Apart(prefixes(c.pods), prefixes(c.services)))
		if got := s.PodCIDR + " " + s.ServiceCIDR; err != nil || got != c.want {
			t.Errorf("%+v beside %s and %s: %s, %v; want %s", c.flags, c.pods, c.services, got, err, c.want)
		}
	}
}

func withDir(t *testing.T, c Config) Config {
	c.DataDir = t.TempDir()
	return c
}

func prefixes(text string) (all []netip.Prefix) {
	for _, p := range strings.Fields(text) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}
