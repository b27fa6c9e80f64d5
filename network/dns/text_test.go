package dns

import (
	"net/netip"
	"strings"
	"testing"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

func TestText(t *testing.T) {
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.Service("default", "db", "None"), dnstest.External("api", "example.com"))
	w.Put(dnstest.Slice("default", "db", "10.244.0.5", 2))
	b := zone.NewBuilder(domainOf("cluster.local"), []netip.Addr{netip.MustParseAddr("10.96.0.10")})
	early := build(b, w, w.Subscribe().Take(), 1) // of nothing
	b.Synced = true
	z := build(b, w, w.Subscribe(world.Services, world.Namespaces).Take(), 7)
	for _, c := range []struct{ of, want string }{
		{"web.default.svc.cluster.local", "web.default.svc.cluster.local. 5 IN A 10.96.0.20\nweb.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.\n"},
		{"_http._tcp.web.default.svc.cluster.local", "_http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.\n"},
		{"db.default.svc.cluster.local", `db.default.svc.cluster.local. 5 IN A 10.244.0.5
db.default.svc.cluster.local. 5 IN A 10.244.0.6
db.default.svc.cluster.local. 5 IN SRV 0 50 8080 10-244-0-5.db.default.svc.cluster.local.
db.default.svc.cluster.local. 5 IN SRV 0 50 8080 10-244-0-6.db.default.svc.cluster.local.
`},
		{"api.default.svc.cluster.local", "api.default.svc.cluster.local. 5 IN CNAME example.com.\n"},
		{"10-0-0-1.default.pod.cluster.local", "10-0-0-1.default.pod.cluster.local. 5 IN A 10.0.0.1\n"},
		{"dns-version.cluster.local", "dns-version.cluster.local. 28800 IN TXT \"1.1.0\"\n"},
		{"20.0.96.10.in-addr.arpa", "20.0.96.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.\n"},
		{"5.0.244.10.in-addr.arpa", "5.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-5.db.default.svc.cluster.local.\n"},
		{"9.9.9.9.in-addr.arpa", "; 9.9.9.9.in-addr.arpa.: 9.9.9.9 is nobody's\n"},
		{"default.svc.cluster.local", "; default.svc.cluster.local. exists and has no records\n"},
		{"gone.default.svc.cluster.local", "; gone.default.svc.cluster.local. does not exist\n"},
		{"example.com", "; example.com. is not in cluster.local.\n"},
	} {
		n, ok := zone.ParseName(c.of)
		if !ok {
			t.Fatal(c.of)
		}
		if got := z.Text(n); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.of, got, c.want)
		}
	}
	apex := z.Text(domainOf("cluster.local"))
	if !strings.HasPrefix(apex, "cluster.local. 5 IN NS ns.dns.cluster.local.\n") || strings.Count(apex, "\n") != 2 || !strings.Contains(apex, " IN TYPE6 \\# ") {
		t.Errorf("the apex: %s", apex)
	}
	n, _ := zone.ParseName("web.default.svc.cluster.local")
	if got := early.Text(n); got != "; "+n.String()+": not known yet\n" {
		t.Errorf("before the first lists: %s", got)
	}
	if got := (&Server{}).Text("a..b"); got != "; a..b: no name, or no table yet\n" {
		t.Errorf("said %s", got)
	}
}
