package host

import (
	"context"
	"os"
)

// checkIPv6 looks whether links of this host may have IPv6 addresses.
func checkIPv6(_ context.Context, req Requirements) []Finding {
	if !req.IPv6 {
		return nil
	}
	all, err := readSysctl("net/ipv6/conf/all/disable_ipv6")
	fresh, _ := readSysctl("net/ipv6/conf/default/disable_ipv6") // there if the other is
	return []Finding{judgeIPv6(all, fresh, err)}
}

func judgeIPv6(all, fresh string, err error) Finding {
	const name = "IPv6"
	switch {
	case os.IsNotExist(err):
		return fail(name, "this kernel runs without IPv6, perhaps by ipv6.disable=1 on its command line: start the cluster with IPv4 ranges only, or the kernel with IPv6")
	case err != nil:
		return fail(name, "its settings cannot be read: %v", err)
	case all != "0" || fresh != "0":
		return fail(name, "it is switched off on this host: 'sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0' switches it on; or start the cluster with IPv4 ranges only")
	}
	return pass(name, "links may have addresses")
}
