package dns

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

// Config says where a Server listens and what it serves.
type Config struct {
	// Addrs are the addresses of the cluster's DNS Service, at least one and usually 10.96.0.10:53, one
	// of each family in a cluster with both. An interface of this network namespace must hold them.
	Addrs []netip.AddrPort
	// NodeName is the node whose own addresses are served too; empty: none.
	NodeName string
	// Domain is the cluster zone, usually "cluster.local".
	Domain string
	// Clients are the addresses of all pods. Names outside the cluster are looked up for them, for nodes and
	// for this host itself, and for nobody else. Empty: for everybody.
	Clients []netip.Prefix
	// Stubs are the servers to ask about names in or below a zone, such as "corp.example", rather than
	// those of ResolvConf. The cluster zone cannot be given away.
	Stubs map[string][]netip.AddrPort
	// Searches is the search list of the pod of this node that has an address. Names that it would ask for one after
	// the other are then tried for it (autopath); nil: not.
	Searches func(netip.Addr) []string
	// ResolvConf is the file naming the servers asked about names outside the cluster. It is read
	// again when it changes. Empty, missing or without servers: such names fail at once.
	ResolvConf string
	// Metrics is where the server's counts are registered, under CoreDNS's names; nil: nowhere.
	Metrics prometheus.Registerer
	// Acknowledged is how far the writes have come that the API server in this process has acknowledged. Questions wait a
	// moment for the zone to show them. nil: the API server is elsewhere.
	Acknowledged func() world.Revisions
	// Dial opens connections to those servers; nil means net.Dialer. A node whose network namespace
	// cannot reach them dials from another one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server answers DNS queries. Make one with New and start it with Run.
type Server struct {
	cfg     Config
	world   *world.World
	log     *slog.Logger
	zone    atomic.Pointer[snapshot]
	nodes   atomic.Pointer[map[netip.Addr]struct{}] // the addresses of all nodes
	clients *clients
	forward *forwarder
	ready   chan struct{}
	moved   chan []netip.Addr // the node's own addresses, the newest only

	barrier barrier

	mu       sync.Mutex
	counters []*counters

	// patience is how long to wait for the first full lists before answering without them, five
	// seconds like CoreDNS's startup_timeout. Until then the sockets are closed rather than bad: on
	// a restart the process before this one goes on answering.
	patience time.Duration
	catchUp  time.Duration
}

// New returns a Server for what w knows. It opens nothing and starts nothing.
func New(cfg Config, w *world.World, log *slog.Logger) *Server {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	return &Server{
		cfg: cfg, world: w, log: log,
		clients:  &clients{pods: cfg.Clients, open: len(cfg.Clients) == 0},
		forward:  newForwarder(cfg, log),
		ready:    make(chan struct{}),
		moved:    make(chan []netip.Addr, 1),
		patience: 5 * time.Second,
		catchUp:  catchUp,
	}
}

// Ready is closed once the sockets are open and every Service of the cluster is known.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves the network namespace of the calling goroutine's thread until ctx is done, which is not an error.
// It returns early when the address cannot be had, with what to do about it.
func (s *Server) Run(ctx context.Context) error {
	domain, ok := zone.ParseName(s.cfg.Domain)
	if !ok || domain == "\x00" {
		return fmt.Errorf("cluster domain %q is not a domain name", s.cfg.Domain)
	}
	for stub, servers := range s.cfg.Stubs {
		if n, ok := zone.ParseName(stub); !ok || n == "\x00" || (&zone.Zone{Domain: domain}).Holds(n) || len(servers) == 0 {
			return fmt.Errorf("stub zone %q: want a zone outside of %s with at least one server", stub, s.cfg.Domain)
		}
	}
	if s.cfg.Metrics != nil {
		if err := s.cfg.Metrics.Register(collector{s}); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		defer s.cfg.Metrics.Unregister(collector{s})
	}
	ctx, cancel := context.WithCancel(ctx)
	synced := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { s.follow(ctx, zone.NewBuilder(domain, addrsOf(s.cfg.Addrs)), synced) })
	defer following.Wait()
	defer cancel()
	select {
	case <-synced:
	case <-time.After(s.patience):
		s.log.Warn("answering before the cluster's Services are known; unknown names get SERVFAIL")
	case <-ctx.Done():
		return nil
	}
	return s.serve(ctx, synced)
}

// count returns the counters of a socket.
func (s *Server) count(network string, at netip.Addr) *counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters = append(s.counters, newCounters(network, at))
	return s.counters[len(s.counters)-1]
}

// counting returns the counters of all sockets there were.
func (s *Server) counting() []*counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.counters)
}

// isNode reports whether ip is a node's.
func (s *Server) isNode(ip netip.Addr) bool {
	nodes := s.nodes.Load()
	if nodes == nil {
		return false
	}
	_, ok := (*nodes)[ip]
	return ok
}

// nodeAddrs are the addresses of all nodes.
func nodeAddrs(w *world.World) *map[netip.Addr]struct{} {
	all := map[netip.Addr]struct{}{}
	for _, n := range w.Nodes() {
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil {
				all[ip] = struct{}{}
			}
		}
	}
	return &all
}

// snapshot is a Zone and what of the world it is made of.
type snapshot struct {
	*zone.Zone
	upTo world.Revisions
}

// namespaces are those that have changed, and whether they exist.
func (s *Server) namespaces(changes world.Changes) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for ns := range changes.Of(world.Namespaces) {
			if !yield(ns.Name, s.world.HasNamespace(ns.Name)) {
				return
			}
		}
	}
}

// services are those that have changed, as they are now.
func (s *Server) services(changes world.Changes) iter.Seq2[types.NamespacedName, zone.Service] {
	return func(yield func(types.NamespacedName, zone.Service) bool) {
		for name := range changes.Of(world.Services) {
			object, endpointSlices := s.world.Service(name)
			if !yield(name, zone.Service{Object: object, Slices: endpointSlices}) {
				return
			}
		}
	}
}

// Text is what the server's table has under a name, for people: a line for each record as in a zone file, and in a comment what
// has no records, does not exist, or is not for this table to say. It ends in a line feed.
func (s *Server) Text(domain string) string {
	n, ok := zone.ParseName(domain)
	if z := s.zone.Load(); ok && z != nil {
		return z.Text(n)
	}
	return fmt.Sprintf("; %s: no name, or no table yet\n", domain)
}

// follow turns every change of the world into the next Zone, and closes synced once nothing is missing.
func (s *Server) follow(ctx context.Context, a *zone.Builder, synced chan struct{}) {
	s.zone.Store(&snapshot{Zone: a.Now})
	changes := s.world.Subscribe(world.Services, world.Namespaces, world.Nodes)
	if s.cfg.Acknowledged != nil {
		changes.EveryRevision()
	}
	defer changes.Close()
	complete := s.world.Synced()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.Wake():
			s.take(a, changes.Take())
		case <-complete:
			complete, a.Synced = nil, true
			s.take(a, changes.Take())
			close(synced)
		}
	}
}

func (s *Server) take(a *zone.Builder, changes world.Changes) {
	if len(changes.Of(world.Nodes)) > 0 {
		s.nodes.Store(nodeAddrs(s.world))
		select {
		case <-s.moved:
		default:
		}
		s.moved <- ownAddrs(s.world, s.cfg.NodeName)
	}
	next := &snapshot{a.Build(s.namespaces(changes), s.services(changes), uint32(time.Now().Unix())), changes.UpTo}
	s.zone.Store(next)
	s.caughtUp(next)
}

// drainTimeout is how long a server that was told to stop waits for upstream servers' answers.
const drainTimeout = time.Second

// serve opens the sockets and answers on them until ctx is done.
func (s *Server) serve(ctx context.Context, synced <-chan struct{}) error {
	var open []*sockets
	defer func() {
		for _, o := range open {
			o.close()
		}
	}()
	for _, addr := range s.cfg.Addrs {
		o, err := listen(ctx, addr, false)
		if err != nil {
			return explain(err, addr)
		}
		open = append(open, o)
	}
	asking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, cancel) })()
	defer s.forward.wait()
	defer s.barrier.stop()
	g, ctx := errgroup.WithContext(ctx)
	for i, o := range open {
		g.Go(func() error { return heartbeat(ctx, o.udp[0], s.cfg.Addrs[i]) })
		g.Go(func() error { return s.serveAt(ctx, asking, o) })
	}
	g.Go(func() error {
		select {
		case <-synced:
			close(s.ready)
		case <-ctx.Done():
		}
		return nil
	})
	s.serveOwn(ctx, asking)
	return g.Wait()
}

// listen opens the sockets of an address. With early, the address may come later.
func listen(ctx context.Context, addr netip.AddrPort, early bool) (*sockets, error) {
	o := &sockets{}
	cfg := net.ListenConfig{Control: share(early)}
	for range min(4, runtime.GOMAXPROCS(0)) {
		c, err := cfg.ListenPacket(ctx, "udp", addr.String())
		if err != nil {
			o.close()
			return nil, err
		}
		o.udp = append(o.udp, c.(*net.UDPConn))
	}
	l, err := cfg.Listen(ctx, "tcp", addr.String())
	if err != nil {
		o.close()
		return nil, err
	}
	o.tcp = l
	return o, nil
}

func addrsOf(list []netip.AddrPort) []netip.Addr {
	addrs := make([]netip.Addr, len(list))
	for i, a := range list {
		addrs[i] = a.Addr()
	}
	return addrs
}

// explain says what to do about an address that cannot be bound.
func explain(err error, addr netip.AddrPort) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: another program holds port %d on this address or on all addresses; "+
			"`ss -lnp sport = :%d` names it: stop it, or bind it to its own address only", err, addr.Port(), addr.Port())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface holds %s: it belongs on link fairlead0, see `ip addr show fairlead0`",
			err, addr.Addr())
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: port %d needs root or CAP_NET_BIND_SERVICE", err, addr.Port())
	}
	return err
}
