package packet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"fairlead.dev/fairlead/network/nft"
)

// foreignTables are rules like those that firewalld, Docker and an administrator
// write with nft; among them a table, maps and chains that have the names of ours.
const foreignTables = `
table inet firewalld {
	chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; jump zones; }
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		meta nfproto ipv6 ip6 daddr { ::/96, ::ffff:0.0.0.0/96 } reject with icmpv6 addr-unreachable
	}
	chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; oifname "docker0" masquerade; }
	chain zones { iifname "eth9" meta mark set 0x00000064 counter; }
}
table ip docker-bridges {
	map filter-forward-in-jumps { type ifname : verdict; elements = { "docker0" : jump filter-forward-in__docker0 }; }
	chain filter-FORWARD { type filter hook forward priority filter; policy accept; iifname vmap @filter-forward-in-jumps; }
	chain filter-forward-in__docker0 { ct state established,related counter accept; counter drop comment "UNPUBLISHED PORT DROP"; }
	chain nat-prerouting-and-output { tcp dport 18080 counter dnat to %s:8080 comment "DNAT"; }
	chain nat-PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local counter jump nat-prerouting-and-output; }
	chain nat-OUTPUT { type nat hook output priority -100; policy accept; fib daddr type local counter jump nat-prerouting-and-output; }
}
table inet fairlead {
	set services { type inet_service; elements = { 80, 443 }; }
	map affinity { type ipv4_addr : mark; flags dynamic,timeout; timeout 1d; size 100; elements = { 192.0.2.7 : 0x00000007 }; }
	chain prerouting { type filter hook prerouting priority filter; policy accept; tcp dport @services counter; }
	chain lb-1 { counter; }
}
table netdev mirror {
	chain out { }
}
table arp keep {
	chain in { type filter hook input priority 0; policy accept; }
}
table bridge keep {
	chain forward { type filter hook forward priority 0; policy accept; }
}
`

// foreignRules are Docker's, a CNI plugin's and an administrator's rules for iptables.
var foreignRules = []string{
	"-t nat -N DOCKER", "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER", "-t nat -A DOCKER -i docker0 -j RETURN",
	"-t nat -A POSTROUTING ! -o docker0 -m comment --comment docker -j MASQUERADE", "-t nat -D POSTROUTING 1",
	"-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN",
	"-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
	"-t nat -N CNI-HOSTPORT-DNAT", "-t nat -A PREROUTING -p tcp --dport 18081 -j CNI-HOSTPORT-DNAT",
	"-A INPUT -p tcp --dport 22 -m comment --comment ssh -j ACCEPT", "-t mangle -A PREROUTING -p udp --dport 53 -j MARK --set-xmark 0x10000/0x10000",
}

// counters and times are all that may differ between two listings.
var volatile = regexp.MustCompile(`\[\d+:\d+\]|(?m)^# (Generated|Completed).*$|expires \S+`)

// foreign lists all rules of a node that are not ours, with their handles, from
// nftables and from both kinds of iptables.
func (l *lab) foreign(on *node) string {
	l.t.Helper()
	ruleset := l.command(on.machine, "nft", "--stateless", "--handle", "list", "ruleset")
	var b strings.Builder
	for _, table := range strings.SplitAfter(ruleset, "\n}\n") {
		if !strings.HasPrefix(table, "table ip fairlead ") && !strings.HasPrefix(table, "table ip6 fairlead ") {
			b.WriteString(table)
		}
	}
	for _, save := range []string{"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"} {
		b.WriteString(save + "\n" + l.command(on.machine, save))
	}
	return volatile.ReplaceAllString(b.String(), "")
}

// Whatever our proxy does, others' rules stay as they are, byte for byte, and do
// what they did.
func TestForeignersStayUntouched(t *testing.T) {
	eachIdle(t, func(l *lab) {
		docker := l.a2.ip
		if docker.Is6() {
			docker = netip.MustParseAddr("172.17.0.2")
		}
		l.command(l.a.machine, "nft", fmt.Sprintf(foreignTables, docker))
		for _, tables := range []string{"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"} {
			for _, rule := range foreignRules {
				l.command(l.a.machine, tables, append([]string{"--wait"}, strings.Fields(rule)...)...)
			}
		}
		before := l.foreign(l.a)
		for _, word := range []string{"UNPUBLISHED", "table inet fairlead {", ":DOCKER-USER - ", "--set-xmark 0x10000/0x10000"} {
			if !strings.Contains(before, word) {
				l.t.Fatalf("the listing lacks %q:\n%s", word, before)
			}
		}
		s, more := nodePort(sticky(l.service("web"), 600), clusterPolicy), l.service("more")
		check := func(when string) {
			l.t.Helper()
			if after := l.foreign(l.a); after != before {
				l.t.Errorf("%s: before\n%s\nafter\n%s", when, before, after)
			}
			if docker == l.a2.ip {
				published := netip.AddrPortFrom(l.a.ip, 18080)
				if r := l.out.Volley(both(published, 1)[:1], 0, patient)[0]; r.Err != nil || r.Answer.Name != "a2" {
					l.t.Errorf("%s: the port that Docker published: %+v", when, r)
				}
			}
		}
		check("at first")
		c := &child{l: l, on: l.a}
		for _, n := range l.world.Nodes() {
			c.remember(n)
		}
		c.put(s)
		c.put(l.slice(s, ready(l.b1, l.a1)...))
		c.put(more)
		c.put(l.slice(more, ready(l.b1)...))
		c.start()
		check("after the start")
		l.sticks(l.out, 2, both(port30080(l.a), 1)[0])
		for i := range 200 { // each way to treat connections needs a chain; some day the table is written anew
			c.put(sticky(more.DeepCopy(), int32(1000+i)))
			c.put(l.slice(s, ready([]machine{l.b1, l.b2, l.a1}[:1+i%3]...)...))
		}
		check("after changes")
		c.kill(l.slice(s, ready(l.b1, l.b2)...))
		check("after a kill")
		c.start()
		check("after a restart")
		c.end()
		check("after a stop")
		var err error
		l.a.Do(func() { err = nft.Clean() })
		if err != nil {
			l.t.Error(err)
		}
		check("after Clean")
		if out := l.command(l.a.machine, "nft", "list", "tables"); strings.Contains(out, "ip fairlead") || strings.Contains(out, "ip6 fairlead") {
			l.t.Errorf("Clean left:\n%s", out)
		}
	})
}
