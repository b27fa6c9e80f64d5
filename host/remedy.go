package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// remedy names the rules that may stop packets at a hook, "input" or "forward",
// and the line that lets those of a range pass each of them.
func remedy(ctx context.Context, hook string, from netip.Prefix) string {
	rules, _ := exec.CommandContext(ctx, "nft", "list", "ruleset").Output() // no nft: nothing to name
	found := nftStops(string(rules), hook, from)
	tables, save := "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"
	if from.Addr().Is6() {
		tables, save = "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"
	}
	if names, err := os.ReadFile(tables); err == nil && slices.Contains(strings.Fields(string(names)), "filter") {
		rules, _ := exec.CommandContext(ctx, save, "-t", "filter").Output()
		found = append(found, iptablesStops(string(rules), hook, from)...)
	}
	if len(found) == 0 {
		return "no rule of nftables or iptables explains it; look for a program of eBPF, a security module or the host's routing"
	}
	return strings.Join(found, "; ")
}

// nftStops reads what nft lists: the chains at a hook that drop by default, or
// by some rule of theirs.
func nftStops(ruleset, hook string, from netip.Prefix) []string {
	var found []string
	var table []string
	chain, at, stops := "", false, ""
	for line := range strings.Lines(ruleset) {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "table":
			table = words[1:3]
		case len(words) > 1 && words[0] == "chain":
			chain, at, stops = words[1], false, ""
		case strings.Contains(line, "hook "+hook+" "):
			at = strings.Contains(line, "type filter")
			if strings.Contains(line, "policy drop") {
				stops = "drops by default"
			}
		case len(words) == 1 && words[0] == "}" && at && stops != "" && concerns(table, from):
			found = append(found, fmt.Sprintf("chain %s of nftables table %s %s %s: %s", chain, table[0], table[1], stops, opening(ruleset, table, chain, hook, from)))
			at = false
		case stops == "" && ends(words):
			stops = "has the rule '" + strings.TrimSpace(line) + "'"
		}
	}
	return found
}

// concerns tells whether a table sees packets of the range's family. Our own have no say in this.
func concerns(table []string, from netip.Prefix) bool {
	family := "ip"
	if from.Addr().Is6() {
		family = "ip6"
	}
	return (table[0] == "inet" || table[0] == family) && table[1] != "fairlead" && table[1] != "fairlead-policy"
}

// ends tells whether a rule drops or rejects more than what is invalid.
func ends(words []string) bool {
	return (slices.Contains(words, "drop") || slices.Contains(words, "reject")) && !slices.Contains(words, "invalid")
}

// opening is the line that lets a range pass a chain, by the program that keeps the chain.
func opening(ruleset string, table []string, chain, hook string, from netip.Prefix) string {
	both := func(format string) string {
		line := fmt.Sprintf(format, "s", from)
		if hook == "forward" {
			line += " and " + fmt.Sprintf(format, "d", from)
		}
		return line
	}
	family, iptables := "ip", "iptables"
	if from.Addr().Is6() {
		family, iptables = "ip6", "ip6tables"
	}
	switch {
	case table[1] == "firewalld":
		return fmt.Sprintf("'firewall-cmd --permanent --zone=trusted --add-source=%s', then 'firewall-cmd --reload'", from)
	case strings.Contains(ruleset, "ufw") && table[1] == "filter":
		return ufw(hook, from)
	case table[0] == family && table[1] == "filter" && chain == strings.ToUpper(chain):
		return both("'" + iptables + " -I " + chain + " -%s %s -j ACCEPT'")
	}
	return both(fmt.Sprintf("'nft insert rule %s %s %s %s %%saddr %%s accept'", table[0], table[1], chain, family))
}

func ufw(hook string, from netip.Prefix) string {
	if hook == "forward" {
		return fmt.Sprintf("'ufw route allow from %s' and 'ufw route allow to %s'", from, from)
	}
	return fmt.Sprintf("'ufw allow from %s'", from)
}

// iptablesStops reads what iptables-save prints of the table filter.
func iptablesStops(saved, hook string, from netip.Prefix) []string {
	chain, program := strings.ToUpper(hook), "iptables-legacy"
	if from.Addr().Is6() {
		program = "ip6tables-legacy"
	}
	stops := ""
	for line := range strings.Lines(saved) {
		switch {
		case strings.HasPrefix(line, ":"+chain+" DROP"):
			stops = "drops by default"
		case stops == "" && strings.HasPrefix(line, "-A "+chain+" ") && (strings.Contains(line, "-j DROP") || strings.Contains(line, "-j REJECT")) && !strings.Contains(line, "INVALID"):
			stops = "has the rule '" + strings.TrimSpace(line) + "'"
		}
	}
	if stops == "" {
		return nil
	}
	line := fmt.Sprintf("'%s -I %s -s %s -j ACCEPT'", program, chain, from)
	switch {
	case strings.Contains(saved, "ufw"):
		line = ufw(hook, from)
	case hook == "forward":
		line += fmt.Sprintf(" and '%s -I %s -d %s -j ACCEPT'", program, chain, from)
	}
	return []string{fmt.Sprintf("chain %s of %s %s: %s", chain, program, stops, line)}
}
