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
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// Agent says how a machine, or a lab's namespace, becomes a node.
type Agent struct {
	config.Config        // of the node
	Server        string // the API server, https://ADDR:PORT
	Token         string // what proves that the machine may join
	TokenFile     string // holds it, if it is not given itself
	Lab           *LabNode
	Reports       io.Writer // where the stages of the start are told
}

// LabNode is what the agent of a lab's node is told by its lab. It ends when the process's input does, so that no agent outlives
// its lab.
type LabNode struct {
	Dir      string       // of the node
	Upstream string       // the network namespace that upstream DNS is asked from
	Host     []netip.Addr // the host's addresses in the lab
}

// RunAgent makes this machine, or a lab's namespace, a node until ctx ends.
func RunAgent(ctx context.Context, p Process, a Agent) error {
	st := newStages(a.Reports)
	s, err := config.Resolve(a.Config)
	if err == nil && a.Lab == nil { // a lab's was asked when the lab began
		if _, err = config.Registries(s.File); err == nil {
			tellRegistries(p.Out, s.Config)
		}
	}
	if err == nil {
		err = runAgent(ctx, p, a, s, st)
	}
	if err != nil {
		st.failed(err)
	}
	return err
}

func runAgent(ctx context.Context, p Process, a Agent, s config.Settings, st *stages) error {
	log, err := p.logger(s.LogLevel)
	if err != nil {
		return err
	}
	if a.Lab != nil {
		ctx = cancelAtEOF(ctx, p.In)
	}
	base, lock, err := a.base(ctx, &s)
	if err != nil {
		return err
	}
	defer lock.Close()
	former := formerEngine(s, base, log) // serves from now on, whenever the server answers
	spec, self, err := a.join(ctx, s, base)
	if err != nil {
		former.close()
		return err
	}
	if err := keepNetworking(base.dir, spec.Networking); err != nil {
		return err
	}
	spec.engine = former
	g, ctx := errgroup.WithContext(ctx)
	go heap.Tend(ctx)
	if err := serveProfiles(ctx, g, p.Pprof); err != nil {
		return err
	}
	if a.Lab == nil { // a lab's addresses are the lab's own
		if err := watchAddrs(ctx, g, spec.Settings, spec.addrs, log); err != nil {
			return err
		}
	}
	g.Go(named("certificates", ctx, func(ctx context.Context) error { return self.Keep(ctx, log.With("part", "certificates")) }))
	if err := startNode(ctx, g, spec, p.nodeClient(a.Server, pki.Clocked(peer.API(self.Client, self.CA))), log, st); err != nil {
		return err
	}
	st.ready()
	dropStart(ctx, log)
	return g.Wait()
}

// join makes this machine a member of the cluster, which tells it the rest of the settings, and the kernel's settings what a node's
// have to be.
func (a Agent) join(ctx context.Context, s config.Settings, base agentBase) (nodeSpec, *join.Member, error) {
	spec := nodeSpec{Settings: s, dir: base.dir, record: base.record, server: a.Server, clientCAs: x509.NewCertPool()}
	if a.Lab != nil { // the server is there already; a machine may wait for it
		spec.dial, spec.host, spec.bound = dialFrom(a.Lab.Upstream), a.Lab.Host, nodeBound
	}
	var self *join.Member
	if err := within(ctx, "join "+a.Server, spec.bound, func(ctx context.Context) (err error) {
		self, err = a.enter(ctx, base)
		return err
	}); err != nil {
		return spec, nil, err
	}
	spec.Networking, spec.serving = self.Networking, self.Serving
	spec.clientCAs.AppendCertsFromPEM(self.CA)
	spec.sysctls = func() error { return setSysctls(self.Networking.Services, base.addrs, base.sysctl) }
	var err error
	if spec.addrs, err = nodeAddrs(base.addrs, spec.Services); err != nil {
		return spec, nil, err
	}
	return spec, self, spec.sysctls()
}

// enter joins the cluster, trying until the server can be reached. A server that refuses ends the attempt.
func (a Agent) enter(ctx context.Context, base agentBase) (*join.Member, error) {
	if _, err := reachAPI(ctx, a.Server); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base.dir, 0o700); err != nil {
		return nil, err
	}
	token := a.Token
	if a.TokenFile != "" {
		text, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token-file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	secret, err := (instance.Instance{Dir: base.dir}).Secret("node-secret")
	if err != nil {
		return nil, err
	}
	who := join.Machine{Server: a.Server, Name: base.name, Addrs: base.addrs, Secret: secret}
	for {
		member, err := who.Join(ctx, token)
		if err == nil || !errors.Is(err, join.ErrLater) && !unreachable(err) {
			return member, knownBy(err, filepath.Join(base.dir, "node-secret"))
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unreachable reports whether an error says that nobody answers, or not in time.
func unreachable(err error) bool {
	var dial *net.OpError
	var slow net.Error
	return errors.As(err, &dial) && dial.Op == "dial" || errors.As(err, &slow) && slow.Timeout()
}

// agentBase is what an agent has of its machine before it joins: where it keeps its state, and where it records what it changes.
type agentBase struct {
	name   string       // of the node
	addrs  []netip.Addr // those that the machine has
	dir    string
	record func(kind, path string) error
	sysctl func(key, value string) error
}

// base prepares where the agent works, and marks it as this one's. It completes the settings by the node's name.
func (a Agent) base(ctx context.Context, s *config.Settings) (base agentBase, lock io.Closer, err error) {
	given := s.Config
	if s.NodeName, err = joiningName(s.NodeName); err != nil {
		return base, nil, err
	}
	base.name, base.addrs = s.NodeName, hostAddrs(s.NodeIPs)
	if len(base.addrs) == 0 {
		return base, nil, errors.New("this host has no default route to take its address from; give it with --node-ip")
	}
	if a.Lab == nil {
		return base.standalone(given)
	}
	base.dir, base.sysctl = a.Lab.Dir, writeSysctl
	base.record = func(string, string) error { return nil }
	lock, err = lockNode(ctx, a.Lab.Dir)
	return base, lock, err
}

// standalone prepares a machine of its own for an agent.
func (base agentBase) standalone(given config.Config) (agentBase, io.Closer, error) {
	inst := instance.Instance{Dir: given.DataDir}
	if err := inst.Prepare(); err != nil {
		return base, nil, err
	}
	lock, err := inst.Lock()
	if err != nil {
		return base, nil, err
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err == nil {
		err = inst.SaveSettings(given)
	}
	if err != nil {
		lock.Close()
		return base, nil, err
	}
	base.dir, base.record, base.sysctl = nodeDir(inst, base.name), journal.Record, journal.Sysctl
	return base, lock, nil
}

// knownBy says of an error about joining by which file the machine is known, for that may have been lost.
func knownBy(err error, secret string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; this machine is known by the secret in %s", err, secret)
}

// cancelAtEOF is a context that ends when the input does.
func cancelAtEOF(ctx context.Context, input io.Reader) context.Context {
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
