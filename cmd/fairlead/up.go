package main

import (
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func upCommand() *cobra.Command {
	var flags config.Config
	var pprof string
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster in the background and wait until everything answers",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needRoot(); err != nil {
				return err
			}
			flags.Own.Proxy = environmentProxy
			return cluster.Up(c.Context(), processOf(c, pprof), flags)
		},
	}
	clusterFlags(c.Flags(), &flags)
	pprofFlag(c.Flags(), &pprof)
	return c
}
