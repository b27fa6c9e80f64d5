package host

import (
	"os/exec"
	"strings"
	"testing"
)

// TestRivals finds kube-proxy's rules in each mode, and nothing where there are only others.
func TestRivals(t *testing.T) {
	for name, c := range map[string]struct {
		commands []string
		want     string // part of the one finding; empty: none
	}{
		"empty":          {nil, ""},
		"others":         {[]string{"nft add table ip fairlead", "iptables-nft -t nat -N MINE", "iptables-legacy -t nat -N MINE"}, ""},
		"nftables":       {[]string{"nft add table ip kube-proxy"}, "table ip kube-proxy (kube-proxy in nftables mode)"},
		"nftables, IPv6": {[]string{"nft add table ip6 kube-proxy"}, "table ip6 kube-proxy (kube-proxy in nftables mode)"},
		"iptables-nft":   {[]string{"iptables-nft -t nat -N KUBE-SERVICES"}, "chain KUBE-SERVICES in the nftables table ip nat"},
		"ip6tables-nft":  {[]string{"ip6tables-nft -t nat -N KUBE-SERVICES"}, "chain KUBE-SERVICES in the nftables table ip6 nat"},
		"iptables":       {[]string{"iptables-legacy -t nat -N KUBE-SERVICES"}, "listed by iptables-legacy-save"},
	} {
		t.Run(name, func(t *testing.T) {
			enterNetns(t)
			for _, command := range c.commands {
				words := strings.Fields(command)
				if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v %s", command, err, out)
				}
			}
			got, err := Rivals(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if said := checkRivals(t.Context(), Requirements{Proxy: true})[0]; !said.OK || (said.Level == Warn) != (c.want != "") || !strings.Contains(said.Message, c.want) {
				t.Errorf("the check says %+v", said)
			}
			if said := checkRivals(t.Context(), Requirements{}); len(said) != 0 {
				t.Errorf("the check of a host that is no node says %+v", said)
			}
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestVirtualServersAreRead(t *testing.T) {
	const headings = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
	if hasVirtualServices("") || hasVirtualServices(headings) {
		t.Error("headings are no virtual servers")
	}
	if !hasVirtualServices(headings + "TCP  0A600001:0050 rr\n") {
		t.Error("a virtual server is not seen")
	}
}
