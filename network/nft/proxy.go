package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// Config says which node this is and which addresses belong to the cluster. The
// IP versions of the ServiceCIDRs, or if those are not known of the NodeIPs, are
// the ones there are. Each has a table of its own, and at most one range and one
// DNS address.
type Config struct {
	NodeName     string
	NodeIPs      []netip.Addr   // where node ports answer
	ClusterCIDRs []netip.Prefix // the pods of all nodes; none: this node's own, as its Node says
	ServiceCIDRs []netip.Prefix // none: not known, and then addresses of no Service are left alone
	ClusterDNS   []netip.Addr   // of this node's own DNS server; none if there is none
	// APIServers are where this node reaches the API, besides what the Service of the API server says. Like every address
	// in lb.Reserved they are never a Service's.
	APIServers []netip.AddrPort
	// Host are addresses of which nodes and pods reach only the APIServers, as in a lab; none: everybody is reached.
	Host []netip.Addr
	// ServicesOnly leaves connections to no Service alone. Otherwise pods that connect to the world get this
	// node's address, which beside somebody else's pod network is that one's business.
	ServicesOnly bool
	// CountUpTo makes the kernel count the connections that each endpoint gets, as long as there are no more
	// endpoints than this in a table; see Connections. A connection pays a tenth to a third of a microsecond;
	// each endpoint takes 2.5 microseconds more when a table is written, two and a half times as much as
	// without, and sixteen bytes more for every processor.
	CountUpTo int
	// Engine are where this node's L7 engine takes connections to Services, one of each family (rule P110); none: there is no engine.
	Engine []netip.AddrPort
	// Metrics is where the Proxy registers its metrics; nil for nowhere.
	Metrics prometheus.Registerer
	// MasqueradeAll gives pods of this node an address of the node towards Services, too (rule P51).
	MasqueradeAll bool
}

// Proxy keeps the kernel's tables what the World says. Make one with New.
type Proxy struct {
	cfg      Config
	families []*plan.Family
	dns      []string // the cluster addresses of the DNS Service
	world    *world.World
	log      *slog.Logger

	metrics *metrics

	mu     sync.Mutex // guards below
	stats  Stats
	taken  map[types.NamespacedName]taken
	asking *socket // for questions from outside the loop; nil unless Run runs
}

// taken is when the kernel took over a Service, and what it has of it in each
// family.
type taken struct {
	at       time.Time
	services [2]*plan.Service
}

// Stats counts what a Proxy has done, over both IP versions.
type Stats struct {
	Services     int           // in the kernel; one that has both IP versions counts twice
	Elements     int           // of all maps
	Classes      int           // different ways to treat a connection
	Transactions int           // committed, rewrites included
	Rewrites     int           // of a whole table
	Failures     int           // transactions the kernel refused
	Flows        int           // UDP flows cut because their endpoint was gone
	Last         time.Duration // from the first look at the last changes to their commit
	Updated      time.Time     // when the kernel was last brought up to date; zero: never
	Pending      time.Time     // when work began that is not in the kernel yet; zero: there is none
	Failure      error         // of the last attempt; nil when the kernel is up to date
}

// New returns a Proxy for the World. It does nothing until Run.
func New(cfg Config, w *world.World, log *slog.Logger) *Proxy {
	p := &Proxy{cfg: cfg, families: familiesOf(cfg), world: w, log: log, taken: map[types.NamespacedName]taken{}, metrics: newMetrics(time.Now())}
	if cfg.Metrics != nil {
		p.register(cfg.Metrics)
	}
	for _, a := range cfg.ClusterDNS {
		p.dns = append(p.dns, a.String())
	}
	return p
}

// Stats returns the counters as of now.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Applied returns when the kernel last took over a change of the Service; the
// zero time if it never did.
func (p *Proxy) Applied(name types.NamespacedName) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken[name].at
}

// patience is how long a Proxy may fail to write a change until it counts as ill.
const patience = 10 * time.Second

// Healthy reports whether the kernel has what it should have, or may have it
// soon, and when it last was brought up to date; the zero time if it never was.
func (p *Proxy) Healthy() (bool, time.Time) {
	s := p.Stats()
	return !s.Updated.IsZero() && (s.Pending.IsZero() || time.Since(s.Pending) < patience), s.Updated
}

// Rows returns what the World's Services mean on this node, by name, and for
// each name by IP version. It is a fresh derivation: see Stats for whether the
// kernel has it.
func (p *Proxy) Rows() []lb.Rows {
	var all []lb.Rows
	nodes := make([]lb.Node, len(p.families))
	for i, f := range p.families {
		nodes[i], _ = p.node(f)
	}
	for _, name := range p.world.Services() {
		for i, f := range p.families {
			service, endpointSlices := p.service(f, name)
			if r := lb.Derive(service, endpointSlices, nodes[i]); !r.IsEmpty() {
				all = append(all, r)
			}
		}
	}
	lb.Settle(all)
	return all
}

// Plan returns the table of each IP version as the World's Services make it on this
// node, to be read, and to be tried with packets. It is a fresh derivation, like
// Rows: the kernel's has the same effect, with other ids.
func (p *Proxy) Plan() []*plan.Table {
	var tables []*plan.Table
	for _, f := range p.families {
		node, layout := p.node(f)
		d := plan.NewDesired()
		d.LocalPods, d.Unstaged = layout.LocalPods, true
		d.SetNodes(p.nodeAddresses(f))
		for _, name := range p.world.Services() {
			service, endpointSlices := p.service(f, name)
			if _, _, err := d.Update(lb.Derive(service, endpointSlices, node)); err != nil {
				p.log.Warn("a service is not in the plan", "err", err)
			}
		}
		tables = append(tables, plan.NewTable(layout, d))
	}
	return tables
}

// node returns what this node is, and which addresses the rules of a family
// need.
func (p *Proxy) node(f *plan.Family) (lb.Node, plan.Layout) {
	node := lb.Node{Name: p.cfg.NodeName, Addrs: p.cfg.NodeIPs, IPv6: f.V6, Reserved: p.reserved()}
	l := plan.Layout{Family: f, ClusterCIDR: f.Prefix(p.cfg.ClusterCIDRs), ServiceCIDR: f.Prefix(p.cfg.ServiceCIDRs), DNS: f.Addr(p.cfg.ClusterDNS), Host: f.Addr(p.cfg.Host), API: p.apiPort(f),
		Outbound: !p.cfg.ServicesOnly, CountUpTo: p.cfg.CountUpTo, Masquerade: p.cfg.MasqueradeAll}
	if e := slices.IndexFunc(p.cfg.Engine, func(at netip.AddrPort) bool { return f.Has(at.Addr()) }); e >= 0 {
		node.Engine, l.Engine = p.cfg.Engine[e], p.cfg.Engine[e].Addr()
	}
	for _, further := range p.world.FurtherRanges(p.cfg.ServiceCIDRs) {
		if f.Has(further.Addr()) {
			l.Further = append(l.Further, further)
		}
	}
	l.LocalPods = l.ClusterCIDR
	if n := p.world.Node(p.cfg.NodeName); n != nil {
		node.Zone = n.Labels[corev1.LabelTopologyZone]
		if r := slices.IndexFunc(api.PodRanges(n), func(r netip.Prefix) bool { return f.Has(r.Addr()) }); r >= 0 {
			l.LocalPods = api.PodRanges(n)[r]
		}
	}
	if !l.ClusterCIDR.IsValid() {
		l.ClusterCIDR = l.LocalPods
	}
	return node, l
}

// Nodes are what this node is to a Service, in each IP version.
func (p *Proxy) Nodes() []lb.Node {
	var all []lb.Node
	for _, f := range p.families {
		node, _ := p.node(f)
		all = append(all, node)
	}
	return all
}

// apiPort is where the host that is otherwise shut serves the API, zero if it does not in this family.
func (p *Proxy) apiPort(f *plan.Family) uint16 {
	for _, at := range p.cfg.APIServers {
		if at.Addr() == f.Addr(p.cfg.Host) {
			return at.Port()
		}
	}
	return 0
}

// reserved is what no Service may take over, as far as this node knows.
func (p *Proxy) reserved() lb.Reserved {
	_, servers := p.world.Service(api.APIService)
	r := lb.NewReserved(p.world.Nodes(), servers, p.cfg.ClusterCIDRs, slices.Concat(p.cfg.ServiceCIDRs, p.world.FurtherRanges(p.cfg.ServiceCIDRs)))
	for _, a := range slices.Concat(p.cfg.NodeIPs, p.cfg.ClusterDNS) {
		if r.Addrs[a] == "" {
			r.Addrs[a] = "an address of this node"
		}
	}
	for _, at := range p.cfg.APIServers {
		r.AddAPI(at)
	}
	return r
}

// nodeAddresses returns the addresses of all nodes: pods keep their own address
// towards them.
func (p *Proxy) nodeAddresses(f *plan.Family) map[netip.Addr]struct{} {
	all := map[netip.Addr]struct{}{}
	for _, a := range p.cfg.NodeIPs {
		if f.Has(a) {
			all[a] = struct{}{}
		}
	}
	for _, n := range p.world.Nodes() {
		for _, a := range api.NodeIPs(n) {
			if f.Has(a) {
				all[a] = struct{}{}
			}
		}
	}
	return all
}

// Run programs the network namespace of the calling goroutine's thread until
// ctx is done, which is not an error. It leaves the tables behind: Services
// keep working without their Proxy, and the next one takes over.
func (p *Proxy) Run(ctx context.Context) error {
	rules, err := dial()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer rules.Close()
	flows, err := dial()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer flows.Close()
	asking, err := dial()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.answerWith(asking)
	defer func() {
		p.answerWith(nil)
		asking.Close()
	}()
	select { // rule P5: a part of the truth is not written
	case <-p.world.Synced():
	case <-ctx.Done():
		return nil
	}
	l := newLoop(p, rules, newCleaner(flows))
	for _, t := range l.tables {
		if from, err := rules.restored(t.family); err == nil {
			t.desired.Restore(from)
			t.intact = true
		} // else there is no table yet, or none to take over
	}
	var group sync.WaitGroup
	group.Go(func() { p.clean(ctx, l.cleaner) })
	defer group.Wait()
	return l.run(ctx)
}

// answerWith sets the socket for questions from outside the loop.
func (p *Proxy) answerWith(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = s
}

// clean runs the cleaner and counts what it cut.
func (p *Proxy) clean(ctx context.Context, c *cleaner) {
	for {
		n, err := c.next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.log.Error("cannot cut UDP flows to endpoints that are gone", "err", err)
		}
		p.mu.Lock()
		p.stats.Flows += n
		p.mu.Unlock()
	}
}

// familiesOf returns a family for each IP version that is configured, in that
// order.
func familiesOf(cfg Config) []*plan.Family {
	addrs := cfg.NodeIPs
	if len(cfg.ServiceCIDRs) > 0 {
		addrs = nil
		for _, p := range cfg.ServiceCIDRs {
			addrs = append(addrs, p.Addr())
		}
	}
	var all []*plan.Family
	for _, a := range addrs {
		known := slices.ContainsFunc(all, func(f *plan.Family) bool { return f.Has(a) })
		if a.IsValid() && !known {
			all = append(all, plan.NewFamily(a.Is6()))
		}
	}
	return all
}
