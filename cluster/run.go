package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/heap"
)

// Keeper is what starts a main process, and starts it again when it has died.
type Keeper struct {
	PID     int       // 0: there is none
	Reports io.Writer // where the stages of the start are told
	Ready   io.Writer // where a byte says that the cluster is ready
}

// orphan reports whether the keeper ended while this process began: whoever ended it did not see this one, and means it too.
func (k Keeper) orphan() bool { return k.PID != 0 && os.Getppid() != k.PID }

// Run is the life of a cluster's main process, which `up` has a keeper start. It returns when ctx ends or a part fails.
func Run(ctx context.Context, p Process, inst instance.Instance, k Keeper) error {
	// When memory runs out, the kernel is to end this process rather than the keeper. It may be that neither may choose.
	os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0o644)
	st := newStages(k.Reports)
	st.onReady = func() { k.Ready.Write([]byte{1}) }
	err := runCluster(ctx, p, inst, k, st)
	if err != nil {
		st.failed(err)
	}
	return err
}

// runCluster is a cluster started by `up`: this host as control plane and node, or a lab. It
// returns when ctx ends. Containers and kernel rules stay: `down` removes them, the next start adopts them.
func runCluster(ctx context.Context, p Process, inst instance.Instance, k Keeper, st *stages) error {
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
	if k.orphan() {
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
	dropStart(ctx, log)
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
	addrs, err := nodeAddrs(hostAddrs(s.NodeIPs), s.Services)
	if err != nil {
		return err
	}
	if s.NodeName, err = nodeName(s.NodeName); err != nil {
		return err
	}
	if err := watchAddrs(ctx, g, s, addrs, log); err != nil {
		return err
	}
	engine := (nodeSpec{Settings: s, addrs: addrs, dir: nodeDir(inst, s.NodeName)}).newEngine(log) // serves from now on
	cp, err := startControlPlane(ctx, g, inst, s, apiserver.Config{Bind: everywhere(s), Advertise: addrs[0], Node: s.NodeName}, log, st)
	if err != nil {
		return err
	}
	spec, err := hostNode(inst, s, cp, addrs)
	if err != nil {
		return err
	}
	spec.engine = engine
	self, err := cp.ca.Source(join.ClientIdentity(s.NodeName))
	if err != nil {
		return err
	}
	if err := startNode(ctx, g, spec, cp.inProcess(p.nodeClient(cp.server, nil), self), log, st); err != nil {
		return err
	}
	// A node may not say of itself what role it has; the control plane does.
	role := []byte(`{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
	if _, err := cp.client.CoreV1().Nodes().Patch(ctx, s.NodeName, types.MergePatchType, role, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label node %s: %w", s.NodeName, err)
	}
	return nil
}

// hostNode is this host as the node beside its control plane. What of the kernel's settings has to be is so when it returns.
func hostNode(inst instance.Instance, s config.Settings, cp *controlPlane, addrs []netip.Addr) (nodeSpec, error) {
	serving, err := cp.ca.Source(join.ServingIdentity(s.NodeName, addrs))
	if err != nil {
		return nodeSpec{}, err
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err != nil {
		return nodeSpec{}, err
	}
	sysctls := func() error { return setSysctls(s.Services, addrs, journal.Sysctl) }
	spec := nodeSpec{Settings: s, addrs: addrs, dir: nodeDir(inst, s.NodeName), serving: serving, clientCAs: cp.ca.Pool(), server: cp.server,
		sysctls: sysctls, record: journal.Record, bound: nodeBound, written: cp.acknowledged, firstPolicy: cp.firstPolicy, world: cp.world}
	return spec, sysctls()
}
