package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/join"
)

func tokenCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{Use: "token", Short: "Make, list and revoke the tokens by which machines join a cluster of this host"}
	c.AddCommand(tokenCreateCommand(&flags), tokenListCommand(&flags), tokenDeleteCommand(&flags))
	for _, sub := range c.Commands() {
		whereFlags(sub, &flags)
	}
	return c
}

func tokenCreateCommand(flags *config.Config) *cobra.Command {
	var life time.Duration
	var description string
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a token, and print it: 'fairlead agent --token-file' of another machine reads it from a file",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if life <= 0 {
				return errors.New("--ttl: a token that ends at once admits nobody; give the time that it is to last, such as 24h")
			}
			tokens, err := cluster.NewTokens(*flags, version)
			if err != nil {
				return err
			}
			token, err := tokens.Create(c.Context(), life, description)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
			return err
		},
	}
	c.Flags().DurationVar(&life, "ttl", 24*time.Hour, "how long it lasts")
	c.Flags().StringVar(&description, "description", "", "what it is for, for those who list it")
	return c
}

func tokenListCommand(flags *config.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens; what they say is not shown",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tokens, err := cluster.NewTokens(*flags, version)
			if err != nil {
				return err
			}
			list, err := tokens.List(c.Context())
			if err != nil {
				return err
			}
			return showTokens(c.OutOrStdout(), list, time.Now())
		},
	}
}

func showTokens(out io.Writer, list []join.Stored, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tENDS IN\tDESCRIPTION")
	for _, t := range list {
		ends := "never"
		switch {
		case t.Ended:
			ends = "admits nobody"
		case !t.Expires.IsZero():
			ends = duration.HumanDuration(t.Expires.Sub(now))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", t.ID, ends, t.Description)
	}
	return w.Flush()
}

func tokenDeleteCommand(flags *config.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID ...",
		Short: "Revoke tokens; the one called " + cluster.Permanent + " is replaced by another. Nodes stay nodes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, ids []string) error {
			tokens, err := cluster.NewTokens(*flags, version)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := tokens.Delete(c.Context(), id); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(c.OutOrStdout(), "token %s revoked\n", id); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
