package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/cluster/lab"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/internal/pages"
)

// Birth is what the keeper gives a main process on its way.
type Birth struct {
	Keeper  int       // the process; 0: there is none
	Reports io.Writer // where the stages of the start are told
	Ready   io.Writer // where a byte says that the cluster is ready
}

// orphan reports whether the keeper ended while this process began: whoever ended it did not see this one, and means it too.
func (b Birth) orphan() bool { return b.Keeper != 0 && os.Getppid() != b.Keeper }

// Run is the life of a cluster's main process, which `up` has a keeper start. It returns when ctx ends or a part fails.
func Run(ctx context.Context, p Process, inst instance.Instance, b Birth) error {
	// When memory runs out, the kernel is to end this process rather than the keeper. It may be that neither may choose.
	os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0o644)
	st := newStages(b.Reports)
	st.onReady = func() { b.Ready.Write([]byte{1}) }
	err := runCluster(ctx, p, inst, b, st)
	if err != nil {
		st.failed(err)
	}
	return err
}

// runCluster is a cluster started by `up`: this host as control plane and node, or a lab. It
// returns when ctx ends. Containers and kernel rules stay: `down` removes them, the next start adopts them.
func runCluster(ctx context.Context, p Process, inst instance.Instance, b Birth, st *stages) error {
	saved, err := inst.LoadSettings()
	if err != nil {
		return err
	}
	saved.DataDir = inst.Dir
	s, err := config.Resolve(saved)
	if err != nil {
		return err
	}
	log, err := p.logger(s.LogLevel)
	if err != nil {
		return err
	}
	lock, err := lockAfter(ctx, inst)
	if err != nil {
		return err
	}
	defer lock.Close()
	if b.orphan() {
		return errors.New("the keeper of this process has ended before it began")
	}
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if err := serveProfiles(ctx, g, p.Pprof); err != nil {
		return err
	}
	start := startHost
	if s.Nodes > 0 {
		start = startLab
	}
	if err := start(ctx, g, p, inst, s, log, st); err != nil {
		if failed := context.Cause(ctx); failed != nil && !errors.Is(failed, context.Canceled) {
			err = failed // a part failed first; the start only noticed
		}
		return err
	}
	st.ready()
	if err := pages.Drop(); err != nil {
		log.Warn("memory of the start is kept", "err", err)
	}
	return g.Wait()
}

// lockAfter takes the instance's lock, which a main process that was killed may hold until the kernel has taken it apart.
func lockAfter(ctx context.Context, inst instance.Instance) (*os.File, error) {
	const patience = 5 * time.Second
	for deadline := time.Now().Add(patience); ; {
		lock, err := inst.Lock()
		var taken *instance.RunningError
		if !errors.As(err, &taken) || time.Now().After(deadline) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func nodeDir(inst instance.Instance, name string) string { return inst.Path("nodes", name) }

func clusterCgroup(cluster string) string { return "/fairlead/" + cluster }

func nodeCgroup(cluster, node string) string { return clusterCgroup(cluster) + "/" + node }

// startHost runs the control plane and makes this host the node.
func startHost(ctx context.Context, g *errgroup.Group, p Process, inst instance.Instance, s config.Settings, log *slog.Logger, st *stages) error {
	addrs, err := nodeAddrs(hostAddrs(s.Node), s.Services)
	if err != nil {
		return err
	}
	name, err := nodeName(s.NodeName)
	if err != nil {
		return err
	}
	if err := followAddrs(ctx, g, s, s.Services, addrs, log); err != nil {
		return err
	}
	cp, err := startControlPlane(ctx, g, inst, s, doors{bind: everywhere(s.Services), advertise: addrs[0], node: name}, log, st)
	if err != nil {
		return err
	}
	self, err := cp.ca.Source(join.ClientIdentity(name))
	if err != nil {
		return err
	}
	serving, err := cp.ca.Source(join.ServingIdentity(name, addrs))
	if err != nil {
		return err
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err != nil {
		return err
	}
	sysctls := func() error { return setSysctls(s.Services, journal.Sysctl) }
	if err := sysctls(); err != nil {
		return err
	}
	spec := nodeSpec{name: name, addrs: addrs, port: s.AgentPort, dir: nodeDir(inst, name), cgroups: nodeCgroup(s.Name, name), cluster: cluster(s), serving: serving, clientCAs: cp.ca.Pool(), server: cp.server, sysctls: sysctls, bound: nodeBound, written: cp.acknowledged}
	if err := startNode(ctx, g, spec, cp.inProcess(p.nodeClient(cp.server, nil), self), journal.Record, log, st); err != nil {
		return err
	}
	// A node may not say of itself what role it has; the control plane does.
	role := []byte(`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
	if _, err := cp.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, role, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label node %s: %w", name, err)
	}
	return nil
}

// startLab builds the lab's network, runs the control plane on the host's end of it, and one agent process
// in each node's namespace, which is started again should it end.
func startLab(ctx context.Context, g *errgroup.Group, p Process, inst instance.Instance, s config.Settings, log *slog.Logger, st *stages) error {
	l, err := createLab(ctx, inst, s)
	if err != nil {
		return err
	}
	st.done(fmt.Sprintf("lab of %d nodes on %s", s.Nodes, strings.Trim(fmt.Sprint(l.Subnets), "[]")))
	cp, err := startControlPlane(ctx, g, inst, s, doors{bind: l.API()[0], advertise: l.API()[0], listen: l.Listen}, log, st)
	if err != nil {
		return err
	}
	nodes := l.Nodes(s.Nodes)
	if err := startAgents(ctx, g, nodes, log, func(ctx context.Context, n lab.Node, did func(report)) error {
		return runLabAgent(ctx, inst, s, cp, l.Host(), n, did)
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
