package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/host"
)

func checkCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "check",
		Short: "Look whether this host can run a cluster, and say what to do if not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			flags.Own.Proxy = environmentProxy
			s, err := config.Resolve(flags)
			if err != nil {
				return err
			}
			findings := cluster.Check(c.Context(), s)
			for _, f := range findings {
				fmt.Fprintf(c.OutOrStdout(), "%-5s %-28s %s\n", f.Level, f.Name, f.Message)
			}
			if len(host.Failed(findings)) > 0 {
				return errors.New("this host cannot run a cluster yet; mend what is marked fail")
			}
			return nil
		},
	}
	clusterFlags(c.Flags(), &flags)
	c.AddCommand(checkIngressCommand())
	return c
}
