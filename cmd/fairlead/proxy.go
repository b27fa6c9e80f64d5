package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

// proxyFlags say for which node of which cluster Services are programmed.
type proxyFlags struct {
	cluster.Proxy
	healthz, metrics                    string
	nodeIPs, clusterCIDRs, serviceCIDRs []string
	cleanup                             bool
	pprof                               string
}

func proxyCommand() *cobra.Command {
	var f proxyFlags
	c := &cobra.Command{
		Use: "proxy --kubeconfig FILE",

		Annotations: usersEnvironment, // the API server may be anywhere
		Short:       "Run the service proxy alone, in place of kube-proxy, in the foreground",
		Long: `Run the service proxy alone, in place of kube-proxy, against any Kubernetes API server.

It programs the Services of the cluster into the network namespace it runs in, and leaves
them there when it ends; the next start takes them over. --cleanup removes them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runProxy(c, f) },
	}
	apiFlags(c, &f.API, &f.LogLevel)
	flags := c.Flags()
	flags.StringVar(&f.NodeName, "node-name", "", "name of this node in the cluster (default: the host name)")
	flags.StringSliceVar(&f.nodeIPs, "node-ip", nil, "addresses of this node, one of a family (default: its InternalIPs in the cluster)")
	flags.StringSliceVar(&f.clusterCIDRs, "cluster-cidr", nil, "addresses of pods, one range of a family (default: the podCIDRs of the node)")
	flags.StringSliceVar(&f.serviceCIDRs, "service-cidr", nil, "addresses of Services, one range of a family (default: what ServiceCIDR objects say, if the cluster has them)")
	flags.BoolVar(&f.MasqueradeAll, "masquerade-all", false, "show Services an address of this node in place of a pod's")
	flags.BoolVar(&f.Policies, "network-policy", false, "keep NetworkPolicies in force for the pods of this node, too; their traffic must be routed by this host")
	flags.StringVar(&f.healthz, "healthz-bind-address", "", "where /healthz and /livez answer (default: port 10256 of the node's addresses and of loopback)")
	flags.StringVar(&f.metrics, "metrics-bind-address", "127.0.0.1:10249", "where /metrics, /healthz and /proxyMode answer")
	pprofFlag(flags, &f.pprof)
	flags.BoolVar(&f.cleanup, "cleanup", false, "remove all rules of this program and end")
	return c
}

func runProxy(c *cobra.Command, f proxyFlags) error {
	if err := needRoot(); err != nil {
		return err
	}
	if f.cleanup {
		if err := cluster.CleanProxy(); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), "All rules are removed.")
		return nil
	}
	x, err := f.check()
	if err != nil {
		return err
	}
	return cluster.RunProxy(c.Context(), processOf(c, f.pprof), x)
}

// check is the proxy that the flags describe.
func (f proxyFlags) check() (cluster.Proxy, error) {
	x, errs := f.Proxy, make([]error, 5)
	x.NodeIPs, errs[0] = config.Addrs("node-ip", f.nodeIPs)
	x.ClusterCIDRs, errs[1] = config.Prefixes("cluster-cidr", f.clusterCIDRs)
	x.ServiceCIDRs, errs[2] = config.Prefixes("service-cidr", f.serviceCIDRs)
	if f.healthz != "" {
		x.Healthz = make([]netip.AddrPort, 1)
		x.Healthz[0], errs[3] = bindAddress("healthz-bind-address", f.healthz)
	}
	x.MetricsAddr, errs[4] = bindAddress("metrics-bind-address", f.metrics)
	return x, errors.Join(errs...)
}

func bindAddress(flag, text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return at, fmt.Errorf("%s %q: must be ADDRESS:PORT, such as 127.0.0.1:10249", flag, text)
	}
	return at, nil
}
