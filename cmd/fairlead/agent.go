package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/host/netns"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/pki/peer"
)

// agentFlags say how a machine, or a lab's namespace, becomes a node.
type agentFlags struct {
	config.Config
	server, token, tokenFile, name string
	// Of a lab only: the node's directory, and the namespace that upstream DNS is asked from. The process
	// ends when its standard input does, so that no agent outlives its lab.
	labDir, upstream string
	reportFD         int      // where it tells its lab of its start
	labHost          []string // the host's addresses in the lab
}

func agentCommand() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent --server URL --token-file FILE",
		Short: "Make this machine a node of a cluster, in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			reports, err := inherited(f.reportFD)
			if err != nil {
				return err
			}
			st := newStages(reports)
			if err = runAgent(c.Context(), f, st); err != nil {
				st.failed(err)
			}
			return err
		},
	}
	whereFlags(c, &f.Config)
	c.Flags().StringVar(&f.server, "server", "", "the API server, https://ADDR:PORT")
	c.Flags().StringVar(&f.token, "token", "", "the token itself; the host's other users can read it in the list of processes")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "a copy of the server's file join-token")
	c.Flags().StringVar(&f.NodeName, "node-name", "", "name of the node (default: the host name)")
	c.Flags().StringVar(&f.NodeIP, "node-ip", "", "address of the node, one of each family (default: those of the default routes)")
	c.Flags().IntVar(&f.AgentPort, "agent-port", 0, "port of the agent (default 10250)")
	c.Flags().StringVar(&f.LogLevel, "log-level", "", "debug, info, warn or error (default info)")
	c.Flags().StringVar(&f.labDir, "lab-dir", "", "")
	c.Flags().StringVar(&f.upstream, "upstream-netns", "", "")
	c.Flags().StringSliceVar(&f.labHost, "lab-host", nil, "")
	c.Flags().IntVar(&f.reportFD, "report-fd", -1, "")
	for _, hidden := range []string{"lab-dir", "upstream-netns", "lab-host", "report-fd"} {
		c.Flags().MarkHidden(hidden)
	}
	c.MarkFlagRequired("server")
	c.MarkFlagsOneRequired("token", "token-file")
	c.MarkFlagsMutuallyExclusive("token", "token-file")
	return c
}

func runAgent(ctx context.Context, f agentFlags, st *stages) error {
	s, log, err := f.settings()
	if err != nil {
		return err
	}
	if f.name, err = joiningName(s.NodeName); err != nil {
		return err
	}
	found := hostAddrs(s.Node)
	if len(found) == 0 {
		return errors.New("this host has no default route to take its address from; give it with --node-ip")
	}
	if f.labDir != "" {
		ctx = endsWithInput(ctx)
	}
	base, lock, err := f.base(ctx, s)
	if err != nil {
		return err
	}
	defer lock.Close()
	var self *join.Member
	if err := within(ctx, "join "+f.server, f.bound(), func(ctx context.Context) (err error) {
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
	spec, err := agentSpec(f, s, self, addrs)
	if err != nil {
		return err
	}
	spec.dir, spec.sysctls = base.dir, sysctls
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if f.labDir == "" { // a lab's addresses are the lab's own
		if err := followAddrs(ctx, g, s, self.Cluster.Services, addrs, log); err != nil {
			return err
		}
	}
	g.Go(named("certificates", ctx, func(ctx context.Context) error { return self.Keep(ctx, log.With("part", "certificates")) }))
	if err := startNode(ctx, g, spec, nodeClient(f.server, peer.API(self.Client, self.CA)), base.record, log, st); err != nil {
		return err
	}
	st.ready()
	dropStart(log)
	return g.Wait()
}

// settings are the checked flags, and where it is told what happens.
func (f agentFlags) settings() (config.Settings, *slog.Logger, error) {
	if err := needRoot(); err != nil {
		return config.Settings{}, nil, err
	}
	s, err := config.Resolve(f.Config)
	if err != nil {
		return s, nil, err
	}
	log, err := logger(s.LogLevel)
	return s, log, err
}

// agentSpec is the node that a machine, or a lab's namespace, becomes.
func agentSpec(f agentFlags, s config.Settings, self *join.Member, addrs []netip.Addr) (nodeSpec, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(self.CA)
	spec := nodeSpec{name: f.name, addrs: addrs, port: s.AgentPort, cgroups: nodeCgroup(s.Name, f.name), cluster: self.Cluster, serving: self.Serving, clientCAs: pool, server: f.server}
	if f.upstream != "" {
		spec.dial = dialFrom(f.upstream)
	}
	var err error
	spec.host, err = addrsOf("lab-host", f.labHost)
	spec.bound = f.bound()
	return spec, err
}

// bound is how long a stage of the agent's start may take: in a lab the server is there already, a machine may wait for it.
func (f agentFlags) bound() time.Duration {
	if f.labDir != "" {
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
func (f agentFlags) base(ctx context.Context, s config.Settings) (agentBase, io.Closer, error) {
	if f.labDir == "" {
		return standalone(s, f.name)
	}
	lock, err := afterEarlier(ctx, f.labDir)
	return agentBase{record: func(string, string) error { return nil }, sysctl: writeSysctl, dir: f.labDir}, lock, err
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
func enter(ctx context.Context, dir string, f agentFlags, addrs []netip.Addr) (*join.Member, error) {
	who := join.Machine{Server: f.server, Name: f.name, Addrs: addrs}
	if _, err := reachAPI(ctx, f.server); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("token-file: %w", err)
		}
		f.token = strings.TrimSpace(string(text))
	}
	var err error
	if who.Secret, err = (instance.Instance{Dir: dir}).Secret("node-secret"); err != nil {
		return nil, err
	}
	for {
		member, err := who.Join(ctx, f.token)
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

// endsWithInput is a context that ends when standard input does.
func endsWithInput(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
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
