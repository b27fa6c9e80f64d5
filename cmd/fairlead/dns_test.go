package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestDNSAlone serves the cluster's names without anything else of the program.
func TestDNSAlone(t *testing.T) {
	f := newFar(t)
	f.grant(dnsRights()...)
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

// TestDNSAloneForKnownClients: unless told otherwise, only private addresses learn about the rest of the world.
func TestDNSAloneForKnownClients(t *testing.T) {
	f := newFar(t)
	f.grant(dnsRights()...)
	f.open()
	address := f.service("web", "10.244.1.3")
	asker := netlab.New(t, "asker")
	netlab.Connect(f.space, netip.MustParsePrefix("192.0.2.1/24"), asker, netip.MustParsePrefix("192.0.2.9/24"))
	asker.Address(netip.MustParsePrefix("10.244.1.9/32"))
	f.space.Route("10.244.1.9/32", "via", "192.0.2.9")
	nobody := filepath.Join(t.TempDir(), "resolv.conf") // so that what is looked up fails at once
	if err := os.WriteFile(nobody, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.start("dns", "--kubeconfig", f.kubeconfig, "--listen", "192.0.2.1:53", "--resolv-conf", nobody)
	ask := func(from, name string) string {
		out, err := asker.Command("dig", "+time=2", "+tries=1", "-b", from, "@192.0.2.1", name)
		if err != nil {
			return err.Error()
		}
		return out
	}
	f.eventually("an answer", func() bool { return strings.Contains(ask("192.0.2.9", "web.default.svc.cluster.local"), address) })
	has(t, ask("10.244.1.9", "example.com"), "status: SERVFAIL")
	has(t, ask("192.0.2.9", "example.com"), "status: REFUSED")
}
