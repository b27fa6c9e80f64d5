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
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/instance"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/join"
	"fairlead.dev/fairlead/lab"
	"fairlead.dev/fairlead/netns"
	"fairlead.dev/fairlead/peer"
)

// agentFlags say how a machine, or a lab's namespace, becomes a node.
type agentFlags struct {
	config.Config
	server, token, tokenFile, name string
	// Of a lab only: the node's directory, and the namespace that upstream DNS is asked from. The process
	// ends when its standard input does, so that no agent outlives its lab.
	labDir, upstream string
	labHost          []string // the host's addresses in the lab
}

func agentCommand() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent --server URL --token-file FILE",
		Short: "Make this machine a node of a cluster, in the foreground",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return runAgent(c.Context(), f) },
	}
	whereFlags(c, &f.Config)
	c.Flags().StringVar(&f.server, "server", "", "the API server, https://ADDR:PORT")
	c.Flags().StringVar(&f.token, "token", "", "the token itself; the host's other users can read it in the list of processes")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "a copy of the server's file join-token")
	c.Flags().StringVar(&f.name, "node-name", "", "name of the node (default: the host name)")
	c.Flags().StringVar(&f.NodeIP, "node-ip", "", "address of the node, one of each family (default: those of the default routes)")
	c.Flags().IntVar(&f.AgentPort, "agent-port", 0, "port of the agent (default 10250)")
	c.Flags().StringVar(&f.LogLevel, "log-level", "", "debug, info, warn or error (default info)")
	c.Flags().StringVar(&f.labDir, "lab-dir", "", "")
	c.Flags().StringVar(&f.upstream, "upstream-netns", "", "")
	c.Flags().StringSliceVar(&f.labHost, "lab-host", nil, "")
	for _, hidden := range []string{"lab-dir", "upstream-netns", "lab-host"} {
		c.Flags().MarkHidden(hidden)
	}
	c.MarkFlagRequired("server")
	c.MarkFlagsOneRequired("token", "token-file")
	c.MarkFlagsMutuallyExclusive("token", "token-file")
	return c
}

func runAgent(ctx context.Context, f agentFlags) error {
	if err := needRoot(); err != nil {
		return err
	}
	s, err := config.Resolve(f.Config)
	if err != nil {
		return err
	}
	log, err := logger(s.LogLevel)
	if err != nil {
		return err
	}
	if f.name == "" {
		if f.name, err = nodeName(); err != nil {
			return err
		}
	}
	found := hostAddrs(s.Node)
	if len(found) == 0 {
		return errors.New("this host has no default route to take its address from; give it with --node-ip")
	}
	base := agentBase{record: func(string, string) error { return nil }, sysctl: writeSysctl, dir: f.labDir}
	if f.labDir == "" {
		var lock io.Closer
		if base, lock, err = standalone(s, f.name); err != nil {
			return err
		}
		defer lock.Close()
	} else {
		ctx = endsWithInput(ctx)
	}
	self, err := enter(ctx, base.dir, f, found)
	if err != nil {
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
	g.Go(named("certificates", ctx, func(ctx context.Context) error { return self.Keep(ctx, log.With("part", "certificates")) }))
	if err := startNode(ctx, g, spec, nodeClient(f.server, peer.API(self.Client, self.CA)), base.record, log, newStages(io.Discard)); err != nil {
		return err
	}
	settle(log)
	return g.Wait()
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
	return spec, err
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
			return member, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
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

// agentPause is how long a lab's agent that has ended stays down.
const agentPause = time.Second

// keepLabAgent runs the agent of one lab node until ctx ends. One that ends by itself is started again, as the service
// manager of a machine does; before the lab was complete it is an error.
func keepLabAgent(ctx context.Context, complete <-chan struct{}, log *slog.Logger, run func(context.Context) error) error {
	for {
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-complete:
		default:
			return err
		}
		log.Warn("the agent has ended and is started again", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(agentPause):
		}
	}
}

// runLabAgent runs the agent of one lab node in a process inside its namespace. It ends when ctx does.
func runLabAgent(ctx context.Context, inst instance.Instance, s config.Settings, cp *controlPlane, host []netip.Addr, n lab.Node) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "agent", "--server", cp.server, "--token-file", inst.Path(joinToken), "--name", s.Name,
		"--node-name", n.Name, "--node-ip", joinAddrs(n.Addrs), "--agent-port", fmt.Sprint(s.AgentPort), "--log-level", s.LogLevel,
		"--data-dir", inst.Dir, "--lab-dir", nodeDir(inst, n.Name), "--lab-host", joinAddrs(host), "--upstream-netns", fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := netns.Start(n.Netns, cmd); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { input.Close() })
	defer stop()
	return cmd.Wait()
}
