package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/internal/heap"
)

// RunServer is the control plane of a cluster whose nodes are machines that join it. It returns when ctx ends or a part fails.
func RunServer(ctx context.Context, p Process, flags config.Config) error {
	s, err := resume(flags)
	if err != nil {
		return err
	}
	if s.Pool.Auto {
		return errors.New("lb-pool auto: the nodes are other machines, and which addresses their network has left is for you to say; give ranges")
	}
	log, err := p.logger(s.LogLevel)
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
	addrs, err := nodeAddrs(hostAddrs(s.NodeIPs), s.Services[:1])
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if err := serveProfiles(ctx, g, p.Pprof); err != nil {
		return err
	}
	if err := watchAddrs(ctx, g, s, addrs, log); err != nil {
		return err
	}
	cp, err := startControlPlane(ctx, g, inst, s, apiserver.Config{Bind: everywhere(s), Advertise: addrs[0]}, log, newStages(io.Discard))
	if err != nil {
		return err
	}
	tellAudit(p.Out, s.Config)
	dropStart(ctx, log)
	fmt.Fprintf(p.Out, "The API server answers at %s. Next, on each machine that is to be a node, with a copy of %s:\n\n  fairlead agent --server %s --token-file FILE\n\n", cp.server, inst.Path(joinToken), cp.server)
	return g.Wait()
}
