package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/status"
)

func statusCommand() *cobra.Command {
	var flags config.Config
	var services bool
	var format string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is running and healthy now, or with --services every Service as the kernel has it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "" && (format != "json" || !services) {
				return fmt.Errorf("output %q: must be json, together with --services", format)
			}
			inst, s, err := cluster.Locate(flags)
			if err != nil {
				return err
			}
			if services {
				return showAllServices(c.Context(), inst, format, c.OutOrStdout())
			}
			return show(c.OutOrStdout(), status.Of(c.Context(), inst, s))
		},
	}
	whereFlags(c, &flags)
	c.Flags().BoolVar(&services, "services", false, "show every Service: its endpoints, their connections since the start, and whether the kernel has it")
	c.Flags().StringVarP(&format, "output", "o", "", "json: for programs, together with --services")
	return c
}

var errUnhealthy = errors.New("not everything is healthy")

func show(out io.Writer, rows []status.Row) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "PART\tSTATE\tDETAIL")
	healthy := true
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.State, r.Detail)
		healthy = healthy && r.OK
	}
	w.Flush()
	if !healthy {
		return errUnhealthy
	}
	return nil
}
