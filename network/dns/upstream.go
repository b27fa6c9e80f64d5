package dns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
)

// upstreamGroup is the servers that are asked about one part of the names: a stub zone, or everything that is
// in none.
type upstreamGroup struct {
	zone    zone.Name
	servers *servers
	first   atomic.Uint32 // index of the server that answered last: it is asked first
}

// newUpstreamGroups returns the groups by their zones, the longest first, so that the first that holds a
// name is the one to ask. The last holds every name.
func newUpstreamGroups(cfg Config) []*upstreamGroup {
	var list []*upstreamGroup
	for stub, at := range cfg.Stubs {
		n, ok := zone.ParseName(stub)
		if !ok {
			continue // Run refuses it
		}
		list = append(list, &upstreamGroup{zone: n, servers: &servers{now: stubServers(at, cfg.Addrs)}})
	}
	slices.SortFunc(list, func(a, b *upstreamGroup) int { return len(b.zone) - len(a.zone) })
	return append(list, &upstreamGroup{zone: "\x00", servers: &servers{path: cfg.ResolvConf, self: cfg.Addrs}})
}

func stubServers(at, self []netip.AddrPort) []string {
	var list []string
	for _, a := range at {
		if !slices.Contains(self, a) {
			list = append(list, a.String())
		}
	}
	return list
}

// holds reports whether n is the zone or below it.
func (u *upstreamGroup) holds(n zone.Name) bool {
	for len(n) > len(u.zone) {
		n = n.Parent()
	}
	return n == u.zone
}

// loops finds servers that ask us what we ask them, such as a resolver on the host that forwards to
// the cluster DNS address. Each is asked once for a name nobody else can know. The question that comes
// back says whom not to ask any more. (CoreDNS's loop plugin, which ends the process then.)
type loops struct {
	log *slog.Logger

	mu     sync.Mutex
	sent   map[zone.Name]string // the name asked for -> server
	leads  map[string]struct{}  // servers that lead back here
	probed map[string]struct{}
}

// loopZone is where the names are. It is no name of the public DNS.
const loopZone zone.Name = "\x0aloop-check\x08fairlead\x00"

const (
	loopLabel   = 16
	loopTimeout = 2 * time.Second
)

func newLoops(log *slog.Logger) *loops {
	return &loops{log: log, sent: map[zone.Name]string{}, leads: map[string]struct{}{}, probed: map[string]struct{}{}}
}

// without returns the servers that do not lead back here. Servers seen for the first time are probed with
// ask.
func (l *loops) without(list []string, ask func(server string, q question)) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, server := range list {
		if _, done := l.probed[server]; done {
			continue
		}
		l.probed[server] = struct{}{}
		var random [loopLabel / 2]byte
		rand.Read(random[:])
		n, _ := loopZone.Child(hex.EncodeToString(random[:]))
		l.sent[n] = server
		ask(server, question{name: n, typ: zone.TypeHINFO, class: zone.ClassIN})
	}
	if len(l.leads) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(server string) bool {
		_, bad := l.leads[server]
		return bad
	})
}

// returned reports whether a question is one of ours that came back, and remembers whose fault it is.
func (l *loops) returned(n []byte) bool {
	const size = 1 + loopLabel + len(loopZone)
	if len(n) != size || string(n[1+loopLabel:]) != string(loopZone) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	server, ours := l.sent[zone.Name(n)]
	if !ours {
		return false
	}
	if _, known := l.leads[server]; !known {
		l.leads[server] = struct{}{}
		l.log.Error("an upstream server asks this server what it is asked, a loop; it is not asked any more. "+
			"Name another one in resolv.conf, or start the program again when it is set right", "server", server)
	}
	return true
}

// probe asks a server once, whatever it says.
func (f *forwarder) probe(ctx context.Context, server string, q question) {
	ctx, cancel := context.WithTimeout(ctx, loopTimeout)
	defer cancel()
	f.once(ctx, "udp", server, q)
}

// clients are those for whom names outside the cluster are looked up: everybody else could use the
// server to flood a third party, or to hide.
type clients struct {
	pods []netip.Prefix
	open bool // no restriction: there are no pods to tell strangers from

	mu      sync.Mutex
	checked time.Time
	own     []netip.Addr // this host's addresses
}

// ownEvery is how long the list of this host's addresses is believed.
const ownEvery = 10 * time.Second

// include reports whether ip is a pod, a node or this host. nodes lists the addresses of all nodes.
func (c *clients) include(ip netip.Addr, nodes func(netip.Addr) bool) bool {
	if c.open || ip.IsLoopback() || slices.ContainsFunc(c.pods, func(p netip.Prefix) bool { return p.Contains(ip) }) || nodes(ip) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) > ownEvery {
		c.checked, c.own = now, hostAddrs()
	}
	return slices.Contains(c.own, ip)
}

func hostAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}
