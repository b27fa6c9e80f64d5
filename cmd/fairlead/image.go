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

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
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
	stream, unnamed := stdin, "imported"
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer opened.Close()
		stream, unnamed = opened, image.NameOf(file)
	}
	plain, size, err := spool(stream)
	if err != nil {
		return err
	}
	defer plain.Close()
	archive, err := image.Open(plain, size, unnamed)
	if err != nil {
		return err
	}
	return eachRuntime(flags, func(node string, r *cri.Runtime) error {
		if err := r.Import(ctx, archive); err != nil {
			return err
		}
		for _, packed := range archive.Images {
			for _, name := range packed.Names {
				fmt.Fprintf(out, "%s: %s\n", node, name)
			}
		}
		return nil
	})
}

// spool keeps an archive, without its compression, in a temporary file that goes with the program.
func spool(archive io.Reader) (file *os.File, size int64, err error) {
	plain, err := image.Plain(archive)
	if err != nil {
		return nil, 0, err
	}
	file, err = os.CreateTemp("", "fairlead-image-")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		size, err = io.Copy(file, plain)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("image archive: %w", err), file.Close())
	}
	return file, size, nil
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
				for _, i := range images {
					for _, ref := range i.RepoTags {
						fmt.Fprintf(w, "%s\t%s\t%.1f MB\n", node, ref, float64(i.Size)/1e6)
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
	inst, s, err := cluster.Locate(flags)
	if err != nil {
		return err
	}
	if _, running := inst.Running(); !running {
		return fmt.Errorf("cluster %q does not run; 'fairlead up' starts it", s.Name)
	}
	names := cluster.NodesOf(inst)
	if len(names) == 0 {
		return errors.New("this host has no node of the cluster; import the image on the nodes")
	}
	slices.Sort(names)
	for _, name := range names {
		if err := f(name, cluster.RuntimeOf(inst, s.Name, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
