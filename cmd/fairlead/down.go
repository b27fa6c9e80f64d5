package main

import (
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func downCommand() *cobra.Command {
	var flags config.Config
	var keep bool
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop a cluster and remove every trace of it from this host",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			inst, s, err := locate(flags)
			if err != nil {
				return err
			}
			return cluster.Down(c.Context(), inst, s, keep, c.OutOrStdout())
		},
	}
	whereFlags(c, &flags)
	c.Flags().BoolVar(&keep, "keep-data", false, "keep the API's objects, the certificates and the images for the next 'fairlead up'")
	return c
}
