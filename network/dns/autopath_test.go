package dns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/dns/dnstest"
)

// autopathServer knows the search list of one pod: the client of these tests.
func autopathServer(t *testing.T, u *upstream, known bool) *Server {
	t.Helper()
	w := dnstest.Cluster(dnstest.Service("default", "web", "10.96.0.20"), dnstest.Service("prod", "db", "10.96.0.21"), dnstest.External("api", "api.example.com"), dnstest.External("snake", "snake.default.svc.cluster.local"))
	w.Put(dnstest.Namespace("prod"))
	cfg := toward(t, u)
	cfg.Searches = func(ip netip.Addr) []string {
		if !known || ip != netip.MustParseAddr("127.0.0.1") {
			return nil
		}
		return []string{"prod.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"}
	}
	return serve(t, cfg, w)
}

// TestAutopath: a name of the search list that does not exist is answered with the one the client would have
// come to, in one question instead of four or five, for A and AAAA alike.
func TestAutopath(t *testing.T) {
	u := startUpstream(t, func(w miekg.ResponseWriter, q *miekg.Msg) {
		if name := q.Question[0].Name; strings.HasSuffix(name, ".corp.example.") && name != "wiki.corp.example." || strings.HasPrefix(name, "absent.") {
			w.WriteMsg(new(miekg.Msg).SetRcode(q, miekg.RcodeNameError))
			return
		}
		if q.Question[0].Qtype != miekg.TypeA {
			w.WriteMsg(new(miekg.Msg).SetReply(q))
			return
		}
		answerWith("@ 60 IN A 192.0.2.80")(w, q)
	})
	s := autopathServer(t, u, true)
	const own, soa = ".prod.svc.cluster.local. ", "authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 0 7200 1800 86400 5"
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name, typ string
			want      []string
		}{
			{"db", "A", []string{"NOERROR aa", "db" + own + "5 IN A 10.96.0.21"}},
			{"web.default", "A", []string{"NOERROR aa", "web.default" + own + "5 IN CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 IN A 10.96.0.20"}},
			{"Web.Default.svc", "A", []string{"NOERROR aa", "Web.Default.svc" + own + "5 IN CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 IN A 10.96.0.20"}},
			{"web.default.svc.cluster.local", "A", []string{"NOERROR aa", "web.default.svc.cluster.local" + own + "5 IN CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 IN A 10.96.0.20"}},
			{"web.default", "AAAA", []string{"NOERROR aa", "web.default" + own + "5 IN CNAME web.default.svc.cluster.local.", soa}},
			{"wiki", "A", []string{"NOERROR", "wiki" + own + "5 IN CNAME wiki.corp.example.", "wiki.corp.example. 60 IN A 192.0.2.80"}},
			{"wiki", "AAAA", []string{"NOERROR", "wiki" + own + "5 IN CNAME wiki.corp.example."}},
			{"www.example.com", "A", []string{"NOERROR", "www.example.com" + own + "5 IN CNAME www.example.com.", "www.example.com. 60 IN A 192.0.2.80"}},
			{"www.example.com", "AAAA", []string{"NOERROR", "www.example.com" + own + "5 IN CNAME www.example.com."}},
			{"api.default", "A", []string{"NOERROR", "api.default" + own + "5 IN CNAME api.default.svc.cluster.local.", "api.default.svc.cluster.local. 5 IN CNAME api.example.com.", "api.example.com. 60 IN A 192.0.2.80"}},
			{"absent.example.com", "A", []string{"NXDOMAIN aa", soa}},
			{"web.default", "TXT", []string{"NXDOMAIN aa", soa}},
		} {
			m := ask(t, s, network, c.name+strings.TrimSpace(own), c.typ)
			if got := transcript(m); !slices.Equal(got, normal(c.want)) {
				t.Errorf("%s %s over %s:\n  %s\nwant:\n  %s", c.name, c.typ, network, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		}
		if m := ask(t, s, network, "snake.default"+strings.TrimSpace(own), "A"); m.Rcode != miekg.RcodeServerFailure {
			t.Errorf("a loop: %v", m)
		}
	}
}

// TestAutopathIsForKnownPods: nobody else's denials change, nor those of another namespace's names.
func TestAutopathIsForKnownPods(t *testing.T) {
	u := startUpstream(t, answerWith("@ 60 IN A 192.0.2.80"))
	stranger, pod := autopathServer(t, u, false), autopathServer(t, u, true)
	for name, s := range map[string]*Server{
		"web.default.prod.svc.cluster.local.": stranger, "www.example.com.default.svc.cluster.local.": pod,
		"www.example.com.svc.cluster.local.": pod, "a\\004prod.svc.cluster.local.": pod, "prodx.svc.cluster.local.": pod,
	} {
		if m := ask(t, s, "udp", name, "A"); m.Rcode != miekg.RcodeNameError || len(m.Answer) > 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if n := u.udp.Load(); n != 0 {
		t.Errorf("asked upstream %d times", n)
	}
}

// TestAutopathWithoutUpstream: the client walks by itself when we cannot for it.
func TestAutopathWithoutUpstream(t *testing.T) {
	s := autopathServer(t, &upstream{addr: freeAddr(t).String()}, true)
	if m := ask(t, s, "udp", "www.example.com.prod.svc.cluster.local.", "A"); m.Rcode != miekg.RcodeNameError || len(m.Ns) != 1 {
		t.Errorf("%v", m)
	}
	if m := ask(t, s, "udp", "web.default.prod.svc.cluster.local.", "A"); len(m.Answer) != 2 {
		t.Errorf("%v", m)
	}
}
