package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/route"
)

func checkCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "check",
		Short: "Look whether this host can run a cluster, and say what to do if not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := config.Resolve(flags)
			if err != nil {
				return err
			}
			findings := host.Check(c.Context(), requirements(s))
			for _, f := range findings {
				fmt.Fprintf(c.OutOrStdout(), "%-5s %-28s %s\n", f.Level, f.Name, f.Message)
			}
			if len(host.Failed(findings)) > 0 {
				return errors.New("this host cannot run a cluster yet; mend what is marked fail")
			}
			return nil
		},
	}
	flags.Flags(c.Flags())
	return c
}

// requirements are what a cluster with these settings needs of the host. A lab needs no port or range of it: its
// nodes have networks of their own.
func requirements(s config.Settings) host.Requirements {
	req := host.Requirements{Dir: s.DataDir, OwnLinks: []string{route.LinkName}, IPv6: hasIPv6(s.Services)}
	if s.Nodes > 0 {
		return req
	}
	if _, err := net.InterfaceByName(route.LinkName); err == nil {
		return withPorts(req, s) // this host is a node already, or was until a crash: the addresses in use are its own
	}
	for i := range s.Pods {
		req.Ranges = append(req.Ranges,
			host.Range{Name: "pods", Prefix: s.Pods[i], Flag: "--pod-cidr"}, host.Range{Name: "Services", Prefix: s.Services[i], Flag: "--service-cidr"})
	}
	return withPorts(req, s)
}

func withPorts(req host.Requirements, s config.Settings) host.Requirements {
	all := everywhere(s.Services)
	req.Ports = []host.Port{
		{Network: "tcp", Addr: netip.AddrPortFrom(all, uint16(s.Port)), For: "API server", Flag: "--port"},
		{Network: "tcp", Addr: netip.AddrPortFrom(all, uint16(s.AgentPort)), For: "node agent", Flag: "--agent-port"},
	}
	return req
}

// preflight refuses to start on a host that cannot run the cluster.
func preflight(ctx context.Context, s config.Settings) error {
	failed := host.Failed(host.Check(ctx, requirements(s)))
	if len(failed) == 0 {
		return nil
	}
	lines := make([]string, len(failed))
	for i, f := range failed {
		lines[i] = f.Name + ": " + f.Message
	}
	return errors.New(strings.Join(lines, "\n"))
}
