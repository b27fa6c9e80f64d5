package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/internal/heap"
)

func serverCommand() *cobra.Command {
	var flags config.Config
	var pprof string
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane of a cluster in the foreground; machines join it with 'fairlead agent'",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return runServer(c.Context(), flags, pprof, c.OutOrStdout()) },
	}
	flags.Flags(c.Flags())
	pprofFlag(c.Flags(), &pprof)
	c.Flags().MarkHidden("nodes") // a server has the nodes that join it
	return c
}

func runServer(ctx context.Context, flags config.Config, pprof string, out io.Writer) error {
	s, err := resume(flags)
	if err != nil {
		return err
	}
	log, err := logger(s.LogLevel)
	if err != nil {
		return err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if err := inst.Prepare(); err != nil {
		return err
	}
	lock, err := inst.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := inst.SaveSettings(s.Config); err != nil {
		return err
	}
	addrs, err := nodeAddrs(hostAddrs(s.Node), s.Services[:1])
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if err := serveProfiles(ctx, g, pprof); err != nil {
		return err
	}
	if err := followAddrs(ctx, g, s, s.Services[:1], addrs, log); err != nil {
		return err
	}
	cp, err := startControlPlane(ctx, g, inst, s, doors{bind: everywhere(s.Services), advertise: addrs[0]}, log, newStages(io.Discard))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The API server answers at %s. Next, on each machine that is to be a node, with a copy of %s:\n\n  fairlead agent --server %s --token-file FILE\n\n", cp.server, inst.Path(joinToken), cp.server)
	return g.Wait()
}
