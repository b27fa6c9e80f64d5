package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kubeProxyChain is the chain through which kube-proxy leads every packet in iptables mode, kubeProxyTable its table in nftables mode.
const (
	kubeProxyChain = "KUBE-SERVICES"
	kubeProxyTable = "kube-proxy"
)

// Rivals returns the rules of other service proxies in this network namespace, each in words, none when there are
// none. Two proxies translate the same packets, and which of them wins is decided by the order in which they started. Rules
// stay when their proxy has ended, so a rival need not be running.
func Rivals(ctx context.Context) ([]string, error) {
	var found []string
	for family, name := range map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"} {
		has, err := hasTable(family, kubeProxyTable)
		if err != nil {
			return nil, err
		}
		if has {
			found = append(found, fmt.Sprintf("nftables table %s %s (kube-proxy in nftables mode)", name, kubeProxyTable))
		}
		if has, err = hasChain(family, "nat", kubeProxyChain); err != nil {
			return nil, err
		}
		if has {
			found = append(found, fmt.Sprintf("chain %s in the nftables table %s nat (kube-proxy in iptables mode)", kubeProxyChain, name))
		}
	}
	for _, legacy := range []struct{ tables, save string }{
		{"/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"}, {"/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"},
	} {
		has, err := hasLegacyChain(ctx, legacy.tables, legacy.save)
		if err != nil {
			return nil, err
		}
		if has {
			found = append(found, fmt.Sprintf("chain %s, listed by %s (kube-proxy in iptables mode)", kubeProxyChain, legacy.save))
		}
	}
	text, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ipvs: %w", err)
	}
	if hasVirtualServices(string(text)) {
		found = append(found, "virtual servers in the kernel's ipvs (kube-proxy in ipvs mode)")
	}
	slices.Sort(found)
	return found, nil
}

// RivalsName is the name of the finding about other service proxies.
const RivalsName = "other service proxies"

// checkRivals looks for other service proxies where this one will run. It only
// warns: what is left of one that was stopped may be about other addresses.
func checkRivals(ctx context.Context, req Requirements) []Finding {
	if !req.Proxy {
		return nil
	}
	found, err := Rivals(ctx)
	switch {
	case err != nil:
		return []Finding{warn(RivalsName, "cannot be looked for: %v", err)}
	case len(found) > 0:
		return []Finding{warn(RivalsName, "%s: two proxies translate the same packets, and the one whose rules are older wins; stop it and remove its rules ('kube-proxy --cleanup', or restart the host)",
			strings.Join(found, "; "))}
	}
	return []Finding{pass(RivalsName, "none has rules here")}
}

// hasChain tells whether an nf_tables table has a chain of that name.
func hasChain(family uint8, table, chain string) (bool, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return false, fmt.Errorf("nf_tables: %w", err)
	}
	defer func() { _ = c.Close() }()
	msg, err := nftMessage{kind: unix.NFT_MSG_GETCHAIN, attrs: func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, table)
		ae.String(unix.NFTA_CHAIN_NAME, chain)
	}}.encode(family)
	if err != nil {
		return false, fmt.Errorf("nf_tables: %w", err)
	}
	_, err = c.Execute(msg)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// hasLegacyChain looks into the kernel's old tables. Their program makes a table that is not there by asking for it, so it is
// asked only about one that is.
func hasLegacyChain(ctx context.Context, tables, save string) (bool, error) {
	text, err := os.ReadFile(tables)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("old iptables: %w", err)
	}
	if !slices.Contains(strings.Fields(string(text)), "nat") {
		return false, nil
	}
	if _, err := exec.LookPath(save); err != nil {
		return false, nil // nobody on this host could have written a chain
	}
	out, err := exec.CommandContext(ctx, save, "-t", "nat").Output()
	if err != nil {
		return false, fmt.Errorf("%s: %w", save, err)
	}
	return strings.Contains(string(out), "\n:"+kubeProxyChain+" "), nil
}

// hasVirtualServices reads /proc/net/ip_vs: three lines of headings, then one for each virtual server and real one.
func hasVirtualServices(table string) bool {
	return strings.Count(table, "\n") > 3
}
