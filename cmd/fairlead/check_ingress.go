package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func checkIngressCommand() *cobra.Command {
	var (
		flags      config.Config
		files      []string
		all        bool
		kubeconfig string
	)
	c := &cobra.Command{
		Use:   "ingress {-f FILE | --all}",
		Short: "Say of each annotation that an Ingress has for ingress-nginx whether it does the same here, and what cannot be served",
		Long: `Say of each annotation that an Ingress has for ingress-nginx whether it does the same here, and what cannot be served.

A line each: same, differs (and how), not supported (and how to say it otherwise), or wrong. With -f no cluster is asked; with --all the
cluster's Services, classes and Secrets are looked at as well. The code is 1 if something is not supported or wrong.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var list []cluster.IngressRemark
			var err error
			switch {
			case all == (len(files) > 0):
				return errors.New("which Ingresses? give either -f FILE or --all")
			case all:
				list, err = cluster.CheckAllIngresses(c.Context(), flags, kubeconfig, version)
			default:
				list, err = cluster.CheckIngressFiles(files, c.InOrStdin())
			}
			if err != nil {
				return err
			}
			return showRemarks(c.OutOrStdout(), list)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "file with manifests, - for the standard input; may be given several times")
	c.Flags().BoolVar(&all, "all", false, "all Ingresses of the cluster")
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "of the cluster, if it is not one of this host's")
	whereFlags(c, &flags)
	return c
}

// showRemarks prints a line each. What is not supported or wrong is an error at the end.
func showRemarks(out io.Writer, list []cluster.IngressRemark) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	bad := 0
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Ingress, r.Where, r.Level, r.Text)
		if r.Bad {
			bad++
		}
	}
	w.Flush()
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d lines are not supported or wrong", bad, len(list))
	}
	return nil
}
