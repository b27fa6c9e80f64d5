package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/lab"
	"fairlead.dev/fairlead/host/netns"
	"fairlead.dev/fairlead/internal/durable"
)

// startLab builds the lab's network, runs the control plane on the host's end of it, and one agent process
// in each node's namespace, which is started again should it end.
func startLab(ctx context.Context, g *errgroup.Group, p Process, inst instance.Instance, s config.Settings, log *slog.Logger, st *stages) error {
	l, err := createLab(ctx, inst, s)
	if err != nil {
		return err
	}
	if s.Pool.Auto {
		s.Pool.Spec = &kinds.AddressPoolSpec{Addresses: l.Pool()}
	}
	st.done(fmt.Sprintf("lab of %d nodes on %s", s.Nodes, strings.Trim(fmt.Sprint(l.Subnets), "[]")))
	cp, err := startControlPlane(ctx, g, inst, s, apiserver.Config{Bind: netip.AddrPortFrom(l.API()[0], uint16(s.Port)), Advertise: l.API()[0], Listen: l.Listen}, log, st)
	if err != nil {
		return err
	}
	nodes := l.Nodes(s.Nodes)
	if err := startAgents(ctx, g, nodes, log, func(ctx context.Context, n lab.Node, did func(report)) error {
		return runLabAgent(ctx, p, inst, s, cp, l.Host(), n, did)
	}); err != nil {
		return err
	}
	st.done(fmt.Sprintf("%d nodes ready", s.Nodes))
	return nil
}

// createLab makes the lab's network. Of several that start at once each sees what those before it have taken.
func createLab(ctx context.Context, inst instance.Instance, s config.Settings) (lab.Lab, error) {
	unlock, err := lockHost(ctx)
	if err != nil {
		return lab.Lab{}, err
	}
	defer unlock()
	l, err := labOf(inst, s)
	if err != nil {
		return l, err
	}
	return l, l.Create(s.Nodes)
}

// labNamed is the lab of an instance without its addresses: enough to remove it.
func labNamed(inst instance.Instance, name string) lab.Lab {
	return lab.Lab{Name: name, Dir: inst.Path("netns")}
}

// labOf is the lab of an instance. Its number is chosen once and kept.
func labOf(inst instance.Instance, s config.Settings) (lab.Lab, error) {
	l := labNamed(inst, s.Name)
	var number uint8
	text, err := os.ReadFile(inst.Path("lab.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if number, err = newNumber(inst); err != nil {
			return l, err
		}
	case err != nil:
		return l, err
	case json.Unmarshal(text, &number) != nil:
		return l, inst.Damaged("lab.json", text)
	}
	if !l.Exists() {
		free, err := lab.Free(int(number))
		if err != nil {
			return l, err
		}
		if !free { // another lab has come to be there since
			if number, err = chooseNumber(inst); err != nil {
				return l, err
			}
		}
	}
	l.Subnets = lab.Subnets(int(number), s.Services)
	return l, nil
}

// newNumber chooses the number of a new lab.
func newNumber(inst instance.Instance) (uint8, error) {
	if err := inst.MayMake("lab.json"); err != nil {
		return 0, err
	}
	return chooseNumber(inst)
}

func chooseNumber(inst instance.Instance) (uint8, error) {
	number, err := lab.FreeNumber()
	if err != nil {
		return 0, err
	}
	return uint8(number), durable.WriteFile(inst.Path("lab.json"), fmt.Append(nil, number), 0o600)
}

// StartOnNode starts a command inside the network namespace of a lab's node.
func StartOnNode(inst instance.Instance, s config.Settings, name string, cmd *exec.Cmd) error {
	if s.Nodes == 0 {
		return fmt.Errorf("cluster %q is no lab: its node is this host, run the command itself", s.Name)
	}
	path := inst.Path("netns", name)
	if _, err := os.Stat(path); err != nil || name == "fabric" {
		return fmt.Errorf("no node %q in cluster %q; there are %s", name, s.Name, strings.Join(nodesOf(inst), ", "))
	}
	return netns.Start(path, cmd)
}
