package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func imageCommand() *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Work on the images that the nodes of this host hold"}
	c.AddCommand(imageImportCommand(), imageListCommand())
	return c
}

func imageImportCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "import FILE ...",
		Short: "Load archives of images into every node's image store",
		Long: "Load archives of images, as docker save, podman save and OCI tools write them, into every node's image store; they may be\n" +
			"compressed with gzip or zstd. A file named - is standard input. An image without a name is called after its file.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			for _, file := range files {
				if err := importImages(c.Context(), flags, c.InOrStdin(), c.OutOrStdout(), file); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			return nil
		},
	}
	whereFlags(c, &flags)
	return c
}

// importImages reads one archive and loads it into the nodes, whose names and images it prints.
func importImages(ctx context.Context, flags config.Config, stdin io.Reader, out io.Writer, file string) error {
	inst, s, err := locate(flags)
	if err != nil {
		return err
	}
	archive := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer opened.Close()
		archive = opened
	}
	return cluster.ImportImages(ctx, inst, s, archive, file, func(node, name string) { fmt.Fprintf(out, "%s: %s\n", node, name) })
}

func imageListCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the images of every node",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			inst, s, err := locate(flags)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
			defer w.Flush()
			fmt.Fprintln(w, "NODE\tIMAGE\tSIZE")
			return cluster.Images(c.Context(), inst, s, func(node, name string, size uint64) {
				fmt.Fprintf(w, "%s\t%s\t%.1f MB\n", node, name, float64(size)/1e6)
			})
		},
	}
	whereFlags(c, &flags)
	return c
}
