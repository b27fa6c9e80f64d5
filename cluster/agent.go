package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/host/netns"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/pki/peer"
)

// Agent says how a machine, or a lab's namespace, becomes a node.
type Agent struct {
	config.Settings
	Server    string // the API server, https://ADDR:PORT
	Token     string // what proves that the machine may join
	TokenFile string // holds it, if it is not given itself
	Lab       *LabNode
}

// LabNode is what the agent of a lab's node is told by its lab. It ends when the process's input does, so that no agent outlives
// its lab.
type LabNode struct {
	Dir      string       // of the node
	Upstream string       // the network namespace that upstream DNS is asked from
	Host     []netip.Addr // the host's addresses in the lab
}

// RunAgent makes this machine, or a lab's namespace, a node until ctx ends. It tells reports how its start goes on.
func RunAgent(ctx context.Context, p Process, a Agent, reports io.Writer) error {
	st := newStages(reports)
	err := runAgent(ctx, p, a, st)
	if err != nil {
		st.failed(err)
	}
	return err
}

func runAgent(ctx context.Context, p Process, f Agent, st *stages) error {
	s := f.Settings
	log, err := p.logger(s.LogLevel)
	if err != nil {
		return err
	}
	if f.NodeName, err = joiningName(s.NodeName); err != nil {
		return err
	}
	found := hostAddrs(s.Node)
	if len(found) == 0 {
		return errors.New("this host has no default route to take its address from; give it with --node-ip")
	}
	if f.Lab != nil {
		ctx = endsWithInput(ctx, p.In)
	}
	base, lock, err := f.base(ctx, s)
	if err != nil {
		return err
	}
	defer lock.Close()
	var self *join.Member
	if err := within(ctx, "join "+f.Server, f.bound(), func(ctx context.Context) (err error) {
		self, err = enter(ctx, base.dir, f, found)
		return err
	}); err != nil {
		return err
	}
	addrs, err := nodeAddrs(found, self.Cluster.Services)
	if err != nil {
		return err
	}
	sysctls := func() error { return setSysctls(self.Cluster.Services, base.sysctl) }
	if err := sysctls(); err != nil {
		return err
	}
	spec := agentSpec(f, s, self, addrs)
	spec.dir, spec.sysctls = base.dir, sysctls
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if f.Lab == nil { // a lab's addresses are the lab's own
		if err := followAddrs(ctx, g, s, self.Cluster.Services, addrs, log); err != nil {
			return err
		}
	}
	g.Go(named("certificates", ctx, func(ctx context.Context) error { return self.Keep(ctx, log.With("part", "certificates")) }))
	if err := startNode(ctx, g, spec, p.nodeClient(f.Server, peer.API(self.Client, self.CA)), base.record, log, st); err != nil {
		return err
	}
	st.ready()
	dropStart(log)
	return g.Wait()
}

// agentSpec is the node that a machine, or a lab's namespace, becomes.
func agentSpec(f Agent, s config.Settings, self *join.Member, addrs []netip.Addr) nodeSpec {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(self.CA)
	spec := nodeSpec{name: f.NodeName, addrs: addrs, port: s.AgentPort, cgroups: nodeCgroup(s.Name, f.NodeName), cluster: self.Cluster, serving: self.Serving, clientCAs: pool, server: f.Server}
	if f.Lab != nil {
		spec.dial, spec.host = dialFrom(f.Lab.Upstream), f.Lab.Host
	}
	spec.bound = f.bound()
	return spec
}

// bound is how long a stage of the agent's start may take: in a lab the server is there already, a machine may wait for it.
func (f Agent) bound() time.Duration {
	if f.Lab != nil {
		return nodeBound
	}
	return 0
}

func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

// agentBase is where an agent keeps its state and where it records what it changes on the host.
type agentBase struct {
	dir    string
	record func(kind, path string) error
	sysctl func(key, value string) error
}

// base prepares where the agent works, and marks it as this one's.
func (f Agent) base(ctx context.Context, s config.Settings) (agentBase, io.Closer, error) {
	if f.Lab == nil {
		return standalone(s, f.NodeName)
	}
	lock, err := afterEarlier(ctx, f.Lab.Dir)
	return agentBase{record: func(string, string) error { return nil }, sysctl: writeSysctl, dir: f.Lab.Dir}, lock, err
}

// standalone prepares a machine of its own for an agent.
func standalone(s config.Settings, name string) (agentBase, io.Closer, error) {
	inst := instance.Instance{Dir: s.DataDir}
	if err := inst.Prepare(); err != nil {
		return agentBase{}, nil, err
	}
	lock, err := inst.Lock()
	if err != nil {
		return agentBase{}, nil, err
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err == nil {
		err = inst.SaveSettings(s.Config)
	}
	if err != nil {
		lock.Close()
		return agentBase{}, nil, err
	}
	return agentBase{dir: nodeDir(inst, name), record: journal.Record, sysctl: journal.Sysctl}, lock, nil
}

// enter joins the cluster, trying until the server can be reached. A server that refuses ends the attempt.
func enter(ctx context.Context, dir string, f Agent, addrs []netip.Addr) (*join.Member, error) {
	who := join.Machine{Server: f.Server, Name: f.NodeName, Addrs: addrs}
	if _, err := reachAPI(ctx, f.Server); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if f.TokenFile != "" {
		text, err := os.ReadFile(f.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token-file: %w", err)
		}
		f.Token = strings.TrimSpace(string(text))
	}
	var err error
	if who.Secret, err = (instance.Instance{Dir: dir}).Secret("node-secret"); err != nil {
		return nil, err
	}
	for {
		member, err := who.Join(ctx, f.Token)
		var unreachable *net.OpError
		if err == nil || !errors.Is(err, join.ErrLater) && (!errors.As(err, &unreachable) || unreachable.Op != "dial") {
			return member, knownBy(err, filepath.Join(dir, "node-secret"))
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// knownBy says of an error about joining by which file the machine is known, for that may have been lost.
func knownBy(err error, secret string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; this machine is known by the secret in %s", err, secret)
}

// endsWithInput is a context that ends when the input does.
func endsWithInput(ctx context.Context, input io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, input)
		cancel()
	}()
	return ctx
}

// writeSysctl sets a kernel setting of the current network namespace, which is thrown away as a whole.
func writeSysctl(key, value string) error {
	if now, err := os.ReadFile(filepath.Join("/proc/sys", key)); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644)
}

// dialFrom connects from another network namespace: a lab's nodes have no way out of the lab, but names
// outside the cluster are asked of the host's name servers.
func dialFrom(space string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = netns.Do(space, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}
