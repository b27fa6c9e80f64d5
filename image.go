package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/cri"
)

func imageCommand() *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Work on the images that the nodes of this host hold"}
	c.AddCommand(imageImportCommand(), imageListCommand())
	return c
}

func imageImportCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "import FILE.tar ...",
		Short: "Load OCI or Docker archives into every node's image store",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			return eachRuntime(flags, func(node string, r *cri.Runtime) error {
				for _, file := range files {
					if err := importImage(c.Context(), c.OutOrStdout(), node, r, file); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	whereFlags(c, &flags)
	return c
}

func importImage(ctx context.Context, out io.Writer, node string, r *cri.Runtime, file string) error {
	archive, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("image import: %w", err)
	}
	defer archive.Close()
	refs, err := r.Import(ctx, archive)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, ref := range refs {
		fmt.Fprintf(out, "%s: %s\n", node, ref)
	}
	return nil
}

func imageListCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the images of every node",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
			defer w.Flush()
			fmt.Fprintln(w, "NODE\tIMAGE\tSIZE")
			return eachRuntime(flags, func(node string, r *cri.Runtime) error {
				images, err := r.Images(c.Context())
				if err != nil {
					return err
				}
				for _, image := range images {
					for _, ref := range image.RepoTags {
						fmt.Fprintf(w, "%s\t%s\t%.1f MB\n", node, ref, float64(image.Size)/1e6)
					}
				}
				return nil
			})
		},
	}
	whereFlags(c, &flags)
	return c
}

// eachRuntime calls f for the containerd of every node that a cluster has on this host.
func eachRuntime(flags config.Config, f func(node string, r *cri.Runtime) error) error {
	if err := needRoot(); err != nil {
		return err
	}
	inst, s, err := locate(flags)
	if err != nil {
		return err
	}
	if _, running := inst.Running(); !running {
		return fmt.Errorf("cluster %q does not run; 'fairlead up' starts it", s.Name)
	}
	names := nodesOf(inst)
	if len(names) == 0 {
		return errors.New("this host has no node of the cluster; import the image on the nodes")
	}
	slices.Sort(names)
	for _, name := range names {
		if err := f(name, runtimeOf(inst, s.Name, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
