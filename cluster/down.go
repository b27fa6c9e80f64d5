package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/kubeconfig"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/network/guard"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/route"
	"fairlead.dev/fairlead/node"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/localvolume"
)

// Down ends a cluster and removes what it left on the host. It needs neither the cluster's process nor its
// API, and may be run again if it was cut short. Every step is tried; what failed is told together.
func Down(ctx context.Context, inst instance.Instance, s config.Settings, keep bool, out io.Writer) error {
	start := time.Now()
	if err := stopProcess(ctx, inst); err != nil {
		return err
	}
	claims := claimsOf(inst)
	errs := []error{stopContainers(ctx, inst, s, keep)}
	if s.Nodes > 0 {
		errs = append(errs, labNamed(inst, s.Name).Remove())
	} else {
		errs = append(errs, nft.Clean(), guard.Clean(), route.Clean())
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err == nil {
		_, err = journal.Undo(ctx)
	}
	errs = append(errs, err, kubeconfig.Remove(inst.Path("kubeconfig-merge.json")))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nnot everything could be removed; mend that and run 'fairlead down' again", err)
	}
	if err := inst.Remove(keep); err != nil {
		return err
	}
	what := "Everything is removed"
	switch {
	case keep:
		what = "Only the data in " + inst.Dir + " is kept"
	case len(claims) > 0:
		what += ", with all that pods wrote into their claims: " + some(claims)
	}
	fmt.Fprintf(out, "Cluster %q is down after %.1f s. %s.\n", s.Name, time.Since(start).Seconds(), what)
	return nil
}

// stopContainers ends the containers and the containerd of every node of the instance, in parallel.
func stopContainers(ctx context.Context, inst instance.Instance, s config.Settings, keep bool) error {
	var g errgroup.Group
	for _, name := range nodesOf(inst) {
		r := runtimeOf(inst, s.Name, name)
		g.Go(func() error {
			if err := r.Stop(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := r.Clean(keep); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// listed is how many claims are named at the most.
const listed = 10

// some is a list of names in a sentence.
func some(names []string) string {
	if more := len(names) - listed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:listed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// claimsOf lists the claims that have a directory on a node of an instance, as NAMESPACE/NAME.
func claimsOf(inst instance.Instance) []string {
	var claims []string
	for _, name := range nodesOf(inst) {
		all, _ := localvolume.List(node.LocalVolumes(inst.Path("nodes", name))) // to tell of, as far as it can be read
		for _, d := range all {
			claims = append(claims, d.Claim)
		}
	}
	slices.Sort(claims)
	return claims
}

// nodesOf lists the nodes that an instance has on this host.
func nodesOf(inst instance.Instance) []string {
	entries, _ := os.ReadDir(inst.Path("nodes")) // none yet: no nodes
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// runtimeOf is the containerd of one of an instance's nodes.
func runtimeOf(inst instance.Instance, cluster, node string) *cri.Runtime {
	return &cri.Runtime{Dir: inst.Path("nodes", node, "containerd"), CgroupRoot: nodeCgroup(cluster, node)}
}
