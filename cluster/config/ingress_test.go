package config

import "testing"

// Ingresses are served at 80 and 443 unless somebody says otherwise; what was said stays said when a cluster is resumed.
func TestIngressPorts(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		flags, saved Config
		want         *IngressPorts
	}{
		{Config{}, Config{}, &IngressPorts{80, 443}},
		{Config{IngressPorts: " 8080 , 8443 "}, Config{}, &IngressPorts{8080, 8443}},
		{Config{Ingress: &no}, Config{}, nil},
		{Config{Ingress: &no, IngressPorts: "wrong"}, Config{}, nil}, // asked for by nobody
		{Config{}, Config{Ingress: &no}, nil},
		{Config{Ingress: &yes}, Config{Ingress: &no, IngressPorts: "81,444"}, &IngressPorts{81, 444}},
		{Config{Nodes: 2, Port: 443}, Config{}, &IngressPorts{80, 443}}, // a lab's API server is in another network
	} {
		c.flags.DataDir = t.TempDir()
		s, err := Resume(c.flags, c.saved)
		if err != nil {
			t.Errorf("%+v: %v", c.flags, err)
			continue
		}
		if got := s.Networking.Ingress; (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%+v, saved %+v: %+v, want %+v", c.flags, c.saved, got, c.want)
		}
	}
}
