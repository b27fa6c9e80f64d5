package main

import (
	"strings"
	"testing"
)

// TestDNSAlone serves the cluster's names without anything else of the program.
func TestDNSAlone(t *testing.T) {
	f := newFar(t)
	address := f.service("web", "10.244.1.3")
	p := f.start("dns", "--kubeconfig", f.kubeconfig, "--listen", "127.0.0.1:53", "--domain", "far.example", "--metrics-bind-address", "127.0.0.1:9153")
	f.open()
	ask := func(name string) string {
		out, err := f.space.Command("dig", "+short", "+time=2", "+tries=1", "@127.0.0.1", name)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	f.eventually("an answer", func() bool { return ask("web.default.svc.far.example") == address })
	if got := ask("kubernetes.default.svc.far.example"); got != "10.96.0.1" {
		t.Errorf("kubernetes: %s", got)
	}
	f.cut()
	if got := ask("web.default.svc.far.example"); got != address {
		t.Errorf("while the API server is away: %s", got)
	}
	_, metrics := f.page("http://127.0.0.1:9153/metrics")
	has(t, metrics, "\nprocess_resident_memory_bytes ", "\ncoredns_dns_requests_total{")
	p.stop()
	out, err := f.start("dns", "--kubeconfig", f.kubeconfig).end()
	if err == nil {
		t.Error("it runs without an address")
	}
	has(t, out, `fairlead: required flag(s) "listen" not set`)
}
