package host

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// What firewalld and ufw write, as far as it decides about packets of links that they were not told of.
const (
	firewalldRules = `table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		jump filter_INPUT_ZONES
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		jump filter_FORWARD_ZONES
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
	chain filter_INPUT_ZONES { tcp dport 22 accept
	}
	chain filter_FORWARD_ZONES { ip daddr 198.51.100.1 accept
	}
}`
	ufwRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
:ufw-before-forward - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
COMMIT
`
)

// TestFirewall tries real packets against real rules in a network namespace, and then the line that the finding names.
func TestFirewall(t *testing.T) {
	const dropIn, dropForward = "add chain %s x c { type filter hook input priority %s; policy drop; }", "add chain %s x c { type filter hook forward priority %s; policy drop; }"
	nftScript := func(family, format, priority string) []string {
		return []string{"nft -f -", "add table " + family + " x\n" + strings.NewReplacer("%s x", family+" x", "priority %s", "priority "+priority).Replace(format) + "\n"}
	}
	for name, c := range map[string]struct {
		run  []string // a command and its input
		want string   // in the finding; empty: it passes
		mend bool     // by the commands it names
	}{
		"none":                 {nil, "", false},
		"nftables input":       {nftScript("inet", dropIn, "0"), "chain c of nftables table inet x drops by default", true},
		"late nftables input":  {nftScript("ip", dropIn, "300"), "chain c of nftables table ip x drops by default", true},
		"nftables forward":     {nftScript("ip", dropForward, "-200"), "connections within 10.244.0.0/16 do not pass through this host", true},
		"of another family":    {nftScript("ip6", dropIn, "0"), "", false},
		"a rule for the DNS":   {[]string{"nft -f -", "add table inet x\nadd chain inet x c { type filter hook input priority 0; }\nadd rule inet x c udp dport 53 drop\n"}, "port 53/udp of this host (DNS) do not pass: chain c of nftables table inet x has the rule 'udp dport 53 drop'", true},
		"firewalld":            {[]string{"nft -f -", firewalldRules}, "'firewall-cmd --permanent --zone=trusted --add-source=10.244.0.0/16'", false},
		"ufw, iptables-nft":    {[]string{"iptables-nft-restore", ufwRules}, "'ufw allow from 10.244.0.0/16'", false},
		"ufw, iptables-legacy": {[]string{"iptables-legacy-restore", ufwRules}, "'ufw allow from 10.244.0.0/16'", false},
		"docker":               {[]string{"iptables-nft -P FORWARD DROP", ""}, "'iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT' and 'iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT'", true},
		"iptables-legacy":      {[]string{"iptables-legacy -A FORWARD -j REJECT", ""}, "chain FORWARD of iptables-legacy has the rule '-A FORWARD -j REJECT --reject-with icmp-port-unreachable'", true},
		"pods are let through": {[]string{"iptables-restore", "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n-A INPUT -s 10.244.0.0/16 -j ACCEPT\n-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n-A FORWARD -d 10.244.0.0/16 -j ACCEPT\nCOMMIT\n"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			enterNetns(t)
			if c.run != nil {
				shell(t, c.run[0], c.run[1])
			}
			req := Requirements{Firewalls: []Firewall{{From: netip.MustParsePrefix("10.244.0.0/16"), Forward: true, Ports: []Port{
				{Network: "tcp", Addr: netip.MustParseAddrPort("0.0.0.0:6443"), For: "API server"}, {Network: "udp", Addr: netip.MustParseAddrPort("0.0.0.0:53"), For: "DNS"}}}}}
			got := checkFirewall(t.Context(), req)[0]
			if got.OK != (c.want == "") || !strings.Contains(got.Message, c.want) {
				t.Errorf("%+v", got)
			}
			if c.mend {
				for i, command := range strings.Split(got.Message, "'") {
					if i%2 == 1 && (strings.HasPrefix(command, "nft ") || strings.HasPrefix(command, "iptables")) {
						shell(t, command, "")
					}
				}
				if got := checkFirewall(t.Context(), req)[0]; got.Level != Pass {
					t.Errorf("after what it said: %+v", got)
				}
			}
			links, err := netlink.LinkList()
			must(t, err)
			for _, l := range links {
				if strings.HasPrefix(l.Attrs().Name, "flcheck") {
					t.Errorf("%s is left", l.Attrs().Name)
				}
			}
		})
	}
}

// The same for IPv6 and for a lab, whose nodes are only to reach the host.
func TestFirewallOfOtherKinds(t *testing.T) {
	enterNetns(t)
	must(t, writeSysctl("net/ipv6/conf/all/forwarding", "1"))
	req := Requirements{Firewalls: []Firewall{{From: netip.MustParsePrefix("fd00:244::/48"), Forward: true,
		Ports: []Port{{Network: "tcp", Addr: netip.MustParseAddrPort("[::]:6443"), For: "API server"}}}}}
	if got := checkFirewall(t.Context(), req)[0]; got.Level != Pass {
		t.Errorf("without rules: %+v", got)
	}
	shell(t, "ip6tables -P FORWARD DROP", "")
	if got := checkFirewall(t.Context(), req)[0]; got.OK || !strings.Contains(got.Message, "ip6tables -I FORWARD -s fd00:244::/48 -j ACCEPT") {
		t.Errorf("IPv6: %+v", got)
	}
	req.Firewalls[0].Forward = false
	if got := checkFirewall(t.Context(), req)[0]; got.Level != Pass {
		t.Errorf("without forwarding: %+v", got)
	}
	if on := sysctl(t, "net/ipv4/ip_forward"); on != "0" {
		t.Errorf("ip_forward is %s", on)
	}
}

func shell(t *testing.T, command, input string) {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", command, err, out)
	}
}
