package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func dnsCommand() *cobra.Command {
	// Private networks (RFC 1918, 6598, 4193): whoever asks from elsewhere could be a forged victim.
	private := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"}
	var d cluster.DNS
	var pprof string
	var listen, clients []string
	c := &cobra.Command{
		Use: "dns --kubeconfig FILE --listen ADDR:53",

		Annotations: usersEnvironment, // the API server may be anywhere
		Short:       "Run the cluster's DNS server alone, in the foreground",
		Args:        cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if d.Addrs, err = config.OfEachFamily("listen", listen, netip.ParseAddrPort, func(a netip.AddrPort) bool { return a.Addr().Is6() }); err != nil {
				return err
			}
			for _, text := range clients {
				network, err := netip.ParsePrefix(text)
				if err != nil {
					return fmt.Errorf("clients %q: must be a network such as 10.244.0.0/16", text)
				}
				d.Clients = append(d.Clients, network)
			}
			return cluster.RunDNS(c.Context(), processOf(c, pprof), d)
		},
	}
	apiFlags(c, &d.API, &d.LogLevel)
	c.Flags().StringSliceVar(&listen, "listen", nil, "where to answer, one address of a family")
	c.Flags().StringSliceVar(&clients, "clients", private, "for whom names outside the cluster are looked up, besides this host")
	c.Flags().StringVar(&d.Domain, "domain", "cluster.local", "the zone of the cluster")
	c.Flags().StringVar(&d.ResolvConf, "resolv-conf", "/etc/resolv.conf", "names the servers that are asked about all other names")
	c.Flags().StringVar(&d.MetricsAddr, "metrics-bind-address", "", "where to serve /metrics, such as 127.0.0.1:9153 (default: nowhere)")
	pprofFlag(c.Flags(), &pprof)
	c.MarkFlagRequired("listen")
	return c
}
