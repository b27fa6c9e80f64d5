package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/status"
)

// debugger is what the debug commands are told.
type debugger struct {
	config.Config
	node string
}

func debugCommand() *cobra.Command {
	var d debugger
	c := &cobra.Command{Use: "debug", Short: "Show what the nodes know of a Service, a name, their rules, and what they make of a packet or a request"}
	c.AddCommand(debugServiceCommand(&d), debugNameCommand(&d), debugRulesCommand(&d), debugPacketCommand(&d), debugRouteCommand(&d))
	for _, sub := range c.Commands() {
		whereFlags(sub, &d.Config)
		sub.Flags().StringVar(&d.node, "node", "", "ask this node only")
	}
	return c
}

func debugServiceCommand(d *debugger) *cobra.Command {
	namespace := "default"
	c := &cobra.Command{
		Use:   "service NAME",
		Short: "Show a Service as the nodes know it: its slices, and which frontend leads to which endpoints",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return d.show(c, cluster.DebugService, url.Values{"name": {namespace + "/" + args[0]}})
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", namespace, "namespace of the Service")
	return c
}

func debugNameCommand(d *debugger) *cobra.Command {
	return &cobra.Command{
		Use:   "name DOMAIN",
		Short: "Show what the nodes' name servers have under a name of the cluster, or under NUMBERS.in-addr.arpa",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return d.show(c, cluster.DebugName, url.Values{"name": args})
		},
	}
}

func debugRulesCommand(d *debugger) *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "Show the nftables tables as they should be; 'nft list table ip fairlead' shows what is",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return d.show(c, cluster.DebugRules, nil) },
	}
}

func debugPacketCommand(d *debugger) *cobra.Command {
	return &cobra.Command{
		Use:   "packet FROM TO:PORT [PROTOCOL]",
		Short: "Show what the nodes' rules make of the first packet of a connection, rule by rule, without sending it",
		Args:  cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{"from": args[:1], "to": args[1:2]}
			if len(args) > 2 {
				query["protocol"] = args[2:]
			}
			return d.show(c, cluster.DebugPacket, query)
		},
	}
}

func debugRouteCommand(d *debugger) *cobra.Command {
	method, service := "GET", ""
	c := &cobra.Command{
		Use:   "route [HOST/PATH]",
		Short: "Show what the L7 engines of the nodes do with a request: the rule that it meets, and the endpoints; without one, all that they serve",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return d.show(c, cluster.DebugL7, nil)
			}
			return d.show(c, cluster.DebugRoute, url.Values{"url": {args[0]}, "method": {method}, "service": {service}})
		},
	}
	c.Flags().StringVar(&method, "method", method, "of the request")
	c.Flags().StringVar(&service, "service", "", "NAMESPACE/NAME: by an address of this Service, instead of the node's own ports")
	return c
}

// show prints what the nodes say, those that say the same together.
func (d *debugger) show(c *cobra.Command, path string, query url.Values) error {
	inst, _, err := cluster.Locate(d.Config)
	if err != nil {
		return err
	}
	pages, unasked := status.Pages(c.Context(), inst, d.node, path, query)
	var texts []string
	nodes := map[string][]string{}
	for _, p := range pages {
		if nodes[p.Text] == nil {
			texts = append(texts, p.Text)
		}
		nodes[p.Text] = append(nodes[p.Text], p.Node)
	}
	for _, text := range texts {
		_, err := fmt.Fprintf(c.OutOrStdout(), "# %s\n%s", strings.Join(nodes[text], ", "), text)
		unasked = errors.Join(unasked, err)
	}
	return unasked
}
