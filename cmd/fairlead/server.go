package main

import (
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func serverCommand() *cobra.Command {
	var flags config.Config
	var pprof string
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane of a cluster in the foreground; machines join it with 'fairlead agent'",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cluster.RunServer(c.Context(), processOf(c, pprof), flags)
		},
	}
	clusterFlags(c.Flags(), &flags)
	pprofFlag(c.Flags(), &pprof)
	c.Flags().MarkHidden("nodes") // a server has the nodes that join it
	return c
}
