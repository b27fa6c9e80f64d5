package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func imageCommand() *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Work on the images that the nodes of this host hold"}
	c.AddCommand(imageImportCommand(), imagePullCommand(), imageListCommand(), imageRemoveCommand())
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
				if err := importImages(c.Context(), flags, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr(), file); err != nil {
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
func importImages(ctx context.Context, flags config.Config, stdin io.Reader, out, errs io.Writer, file string) error {
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
	shown := newProgress(errs)
	defer shown.clear()
	return cluster.ImportImages(ctx, inst, s, archive, file, func(node, name string) {
		shown.clear()
		fmt.Fprintf(out, "%s: %s\n", node, name)
	}, shown.tell)
}

// progress is one line of a terminal that says how far an import is. On anything else nothing is said.
type progress struct {
	to   io.Writer
	last time.Time
	len  int
}

func newProgress(to io.Writer) *progress {
	if f, ok := to.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{to: to}
		}
	}
	return &progress{}
}

// tell says it, ten times a second at most.
func (p *progress) tell(node string, done, total int64) {
	if p.to == nil || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	text := fmt.Sprintf("reading the archive: %.0f MB", float64(done)/1e6)
	if node != "" {
		text = fmt.Sprintf("%s: %.0f of %.0f MB", node, float64(done)/1e6, float64(total)/1e6)
	}
	fmt.Fprintf(p.to, "\r%-*s", p.len, text)
	p.len = len(text)
}

func (p *progress) clear() {
	if p.len > 0 {
		fmt.Fprintf(p.to, "\r%*s\r", p.len, "")
		p.len = 0
	}
}

func imagePullCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:   "pull IMAGE ...",
		Short: "Pull images into every node's image store",
		Long:  "Pull images into every node's image store, as 'registries' of config.yaml says that registries are reached.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			inst, s, err := locate(flags)
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := cluster.PullImage(c.Context(), inst, s, name, func(node, name string, size uint64) {
					fmt.Fprintf(c.OutOrStdout(), "%s: %s, %.1f MB\n", node, name, float64(size)/1e6)
				}); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		},
	}
	whereFlags(c, &flags)
	return c
}

func imageRemoveCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use:     "rm IMAGE ...",
		Aliases: []string{"remove"},
		Short:   "Remove images, by a name or a digest, from every node's image store",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			inst, s, err := locate(flags)
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := cluster.RemoveImage(c.Context(), inst, s, name, func(node, name string) {
					fmt.Fprintf(c.OutOrStdout(), "%s: %s is removed\n", node, name)
				}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	whereFlags(c, &flags)
	return c
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
