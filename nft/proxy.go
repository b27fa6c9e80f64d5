package nft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/lb"
	"fairlead.dev/fairlead/world"
)

// Config says which node this is and which addresses belong to the cluster.
type Config struct {
	NodeName    string
	NodeIPs     []netip.Addr // where node ports answer
	ClusterCIDR netip.Prefix // the pods of all nodes; invalid: this node's own, as its Node says
	ServiceCIDR netip.Prefix // invalid: not known, and then addresses of no Service are left alone
	ClusterDNS  netip.Addr   // of this node's own DNS server; invalid if there is none
	// ServicesOnly leaves connections to no Service alone. Otherwise pods that connect to the world get this
	// node's address, which beside somebody else's pod network is that one's business.
	ServicesOnly bool
}

// Proxy keeps the kernel's table what the World says. Make one with New.
type Proxy struct {
	cfg   Config
	world *world.World
	log   *slog.Logger

	mu      sync.Mutex // guards below
	stats   Stats
	applied map[world.ServiceName]time.Time
}

// Stats counts what a Proxy has done.
type Stats struct {
	Services     int           // in the kernel
	Elements     int           // of all maps
	Classes      int           // different ways to treat a connection
	Transactions int           // committed, rewrites included
	Rewrites     int           // of the whole table
	Failures     int           // transactions the kernel refused
	Flows        int           // UDP flows cut because their endpoint was gone
	Last         time.Duration // from the first look at the last changes to their commit
	Updated      time.Time     // when the kernel was last brought up to date; zero: never
	Pending      time.Time     // when work began that is not in the kernel yet; zero: there is none
	Failure      error         // of the last attempt; nil when the kernel is up to date
}

// New returns a Proxy for the World. It does nothing until Run.
func New(cfg Config, w *world.World, log *slog.Logger) *Proxy {
	return &Proxy{cfg: cfg, world: w, log: log, applied: map[world.ServiceName]time.Time{}}
}

// Stats returns the counters as of now.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Applied returns when the kernel last took over a change of the Service; the
// zero time if it never did.
func (p *Proxy) Applied(name world.ServiceName) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied[name]
}

// Rows returns what the World's Services mean on this node, by name. It is a
// fresh derivation: see Stats for whether the kernel has it.
func (p *Proxy) Rows() []lb.Rows {
	node, _ := p.node()
	var all []lb.Rows
	for _, name := range p.world.Services() {
		service, endpointSlices := p.service(name)
		if r := lb.Derive(service, endpointSlices, node); !r.IsEmpty() {
			all = append(all, r)
		}
	}
	return all
}

// node returns what this node is, and which addresses the rules need.
func (p *Proxy) node() (lb.Node, layout) {
	node := lb.Node{Name: p.cfg.NodeName, Addrs: p.cfg.NodeIPs}
	l := layout{clusterCIDR: p.cfg.ClusterCIDR, localPods: p.cfg.ClusterCIDR, serviceCIDR: p.cfg.ServiceCIDR, dns: p.cfg.ClusterDNS, outbound: !p.cfg.ServicesOnly}
	if n := p.world.Node(p.cfg.NodeName); n != nil {
		node.Zone = n.Labels[corev1.LabelTopologyZone]
		for _, text := range append([]string{n.Spec.PodCIDR}, n.Spec.PodCIDRs...) {
			if cidr, err := netip.ParsePrefix(text); err == nil && cidr.Addr().Is4() {
				l.localPods = cidr.Masked()
				break
			}
		}
	}
	if !l.clusterCIDR.IsValid() {
		l.clusterCIDR = l.localPods
	}
	return node, l
}

// nodeAddresses returns the addresses of all nodes: pods keep their own address
// towards them.
func (p *Proxy) nodeAddresses() map[netip.Addr]struct{} {
	all := map[netip.Addr]struct{}{}
	for _, a := range p.cfg.NodeIPs {
		all[a] = struct{}{}
	}
	for _, n := range p.world.Nodes() {
		for _, text := range n.Status.Addresses {
			if text.Type != corev1.NodeInternalIP && text.Type != corev1.NodeExternalIP {
				continue
			}
			if a, err := netip.ParseAddr(text.Address); err == nil && a.Is4() {
				all[a] = struct{}{}
			}
		}
	}
	return all
}

// Run programs the network namespace of the calling goroutine's thread until
// ctx is done, which is not an error. It leaves the table behind: Services keep
// working without their Proxy, and the next one takes over.
func (p *Proxy) Run(ctx context.Context) error {
	rules, err := dial()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer rules.close()
	flows, err := dial()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer flows.close()
	select { // rule P5: a part of the truth is not written
	case <-p.world.Synced():
	case <-ctx.Done():
		return nil
	}
	l := &loop{
		proxy: p, book: newBook(), cleaner: newCleaner(flows), changed: map[world.ServiceName]struct{}{},
		kernel: &kernel{socket: rules, flags: tableOwner | tablePersist},
	}
	if h, err := rules.inherit(); err == nil {
		l.book.adopt(h)
		l.intact = true
	} // else there is no table yet, or none to take over
	var group sync.WaitGroup
	group.Go(func() { p.clean(ctx, l.cleaner) })
	defer group.Wait()
	return l.run(ctx)
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

// loop is the state of a running Proxy. One goroutine has it.
type loop struct {
	proxy   *Proxy
	book    *book
	kernel  *kernel
	cleaner *cleaner

	node     lb.Node
	stale    bool // the kernel may differ from the book: write everything
	intact   bool // the table is as this Proxy or its predecessor left it
	failures int  // in a row
	checked  time.Time

	// What the next successful transaction completes.
	changed map[world.ServiceName]struct{}
	cut     []flows
	skipped map[world.ServiceName]struct{} // could not be taken in; to be tried again
}

// How long to wait after failures, and how often to look whether somebody else
// changed the table where the kernel does not let us own it (rule P100).
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	auditEvery = time.Second
	// rewriteEvery bounds the cost of a host on which other rules change all the time.
	rewriteEvery = 10 * time.Second
)

func (l *loop) run(ctx context.Context) error {
	subscription := l.proxy.world.Subscribe()
	defer subscription.Close()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	l.stale = true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-subscription.Wake():
		case <-retry.C:
		case <-audit.C:
			l.audit()
			if !l.stale {
				continue
			}
		}
		if err := l.step(subscription.Take()); err != nil {
			retry.Reset(min(firstRetry<<min(l.failures, 10), lastRetry))
		}
	}
}

// step takes the changes into the book and the book into the kernel.
func (l *loop) step(changes world.Changes) error {
	started := time.Now()
	l.proxy.begin(started)
	l.book.unstaged = l.stale
	names := changes.Services
	if changes.Nodes || l.kernel.sizes[0] == 0 {
		names = l.lookAtNodes(names)
	}
	err := l.takeIn(l.skipped)
	l.skipped = nil
	err = errors.Join(err, l.takeIn(names))
	written := l.write()
	err = errors.Join(err, written)
	l.record(started, written == nil, err)
	if written == nil {
		l.cleaner.add(l.cut) // rule P81: after the rules are in
		l.changed, l.cut = map[world.ServiceName]struct{}{}, nil
	}
	return err
}

// lookAtNodes takes in what changed about nodes and returns the Services to
// derive again: all of them if this node is not what it was.
func (l *loop) lookAtNodes(names map[world.ServiceName]struct{}) map[world.ServiceName]struct{} {
	node, layout := l.proxy.node()
	moved := node.Zone != l.node.Zone || node.Name != l.node.Name
	if layout != l.kernel.layout {
		l.kernel.layout, l.book.localPods = layout, layout.localPods
		l.stale, moved = true, true
	}
	l.book.setNodes(l.proxy.nodeAddresses())
	if moved {
		all := map[world.ServiceName]struct{}{}
		for _, name := range l.proxy.world.Services() {
			all[name] = struct{}{}
		}
		for name := range names {
			all[name] = struct{}{}
		}
		names = all
	}
	l.node = node
	return names
}

// takeIn derives the named Services into the book. A Service that cannot be
// expressed keeps its previous state and is tried again.
func (l *loop) takeIn(names map[world.ServiceName]struct{}) error {
	var failed error
	for name := range names {
		service, endpointSlices := l.proxy.service(name)
		rows := lb.Derive(service, endpointSlices, l.node)
		rows.Service = name
		var before []flows
		if s := l.book.services[name]; s != nil {
			before = s.flows
		}
		changed, err := l.book.update(rows)
		if err != nil {
			failed = errors.Join(failed, err)
			if l.skipped == nil {
				l.skipped = map[world.ServiceName]struct{}{}
			}
			l.skipped[name] = struct{}{}
			continue
		}
		if changed {
			l.changed[name] = struct{}{}
		}
		l.cut = append(l.cut, toCut(before, flowsOf(&rows))...)
	}
	return failed
}

// write brings the book into the kernel, by the difference if that is known.
func (l *loop) write() error {
	if !l.stale && l.kernel.fits(l.book.size()) && l.book.classes.idle <= maxIdle {
		d := l.book.take()
		if d.isEmpty() {
			return nil
		}
		if err := l.kernel.update(l.book, d); err == nil {
			l.count(false)
			return nil
		}
		// The kernel is not what we think it is. Writing everything does not
		// depend on what it is.
		l.count(false)
		l.intact = false
	}
	l.stale = true
	l.book.settleHeritage()
	if err := l.kernel.rewrite(l.book, l.intact); err != nil {
		l.intact = false
		return err
	}
	l.stale, l.intact = false, true
	l.count(true)
	return nil
}

func (l *loop) count(rewrite bool) {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	l.proxy.stats.Transactions++
	if rewrite {
		l.proxy.stats.Rewrites++
	}
}

// record notes the outcome of a step, and logs when it turns from good to bad
// or back.
func (l *loop) record(started time.Time, written bool, err error) {
	p, now := l.proxy, time.Now()
	if err != nil {
		if l.failures == 0 {
			p.log.Error("cannot program services into the kernel; retrying", "err", err)
		}
		l.failures++
	} else if l.failures > 0 {
		p.log.Info("services are programmed again", "failures", l.failures)
		l.failures = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stats
	s.Failure = err
	if err == nil {
		s.Updated, s.Pending = now, time.Time{}
	}
	s.Services, s.Classes, s.Elements = len(l.book.services), len(l.book.classes.known), 0
	for _, n := range l.book.counts {
		s.Elements += n
	}
	if !written {
		s.Failures++
		return
	}
	for name := range l.changed {
		if l.book.services[name] == nil {
			delete(p.applied, name)
		} else {
			p.applied[name] = now
		}
	}
	if len(l.changed) > 0 {
		s.Last = now.Sub(started)
	}
}

// audit looks for changes by others, where the table is not ours alone.
func (l *loop) audit() {
	if l.stale || l.kernel.flags&tableOwner != 0 || time.Since(l.checked) < rewriteEvery {
		return
	}
	if id, err := l.kernel.socket.generation(); err != nil || id != l.kernel.generation {
		l.stale, l.intact = true, false
		l.checked = time.Now()
	}
}
