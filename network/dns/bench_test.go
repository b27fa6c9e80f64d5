package dns

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

// large is a cluster of n Services with four endpoints each, spread over a hundred namespaces.
func large(n int) *world.World {
	w := world.New()
	ip := netip.MustParseAddr("10.96.1.0")
	pod := netip.MustParseAddr("10.128.0.0")
	for i := range 100 {
		w.Put(dnstest.Namespace(fmt.Sprintf("ns%d", i)))
	}
	for i := range n {
		ip = ip.Next()
		ns, name := fmt.Sprintf("ns%d", i%100), fmt.Sprintf("svc-%d", i)
		w.Put(dnstest.Service(ns, name, ip.String()))
		w.Put(dnstest.Slice(ns, name, pod.String(), 4))
		for range 4 {
			pod = pod.Next()
		}
	}
	w.MarkSynced()
	return w
}

// BenchmarkRespond is one answer, from the bytes of the query to the bytes of the response.
func BenchmarkRespond(b *testing.B) {
	w := large(5000)
	w.Put(dnstest.Service("ns1", "db", "None"))
	w.Put(dnstest.Slice("ns1", "db", "10.200.0.1", 10))
	a := zone.NewBuilder(domainOf("cluster.local"), nil)
	a.Synced = true
	z := build(a, w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
	for _, q := range []struct {
		what, name string
		typ        uint16
	}{
		{"A", "svc-101.ns1.svc.cluster.local.", miekg.TypeA},
		{"NODATA", "svc-101.ns1.svc.cluster.local.", miekg.TypeAAAA},
		{"SRV", "_http._tcp.svc-101.ns1.svc.cluster.local.", miekg.TypeSRV},
		{"NXDOMAIN", "absent.ns1.svc.cluster.local.", miekg.TypeA},
		{"Headless10", "db.ns1.svc.cluster.local.", miekg.TypeA},
		{"PTR", "1.1.96.10.in-addr.arpa.", miekg.TypePTR},
	} {
		b.Run(q.what, func(b *testing.B) {
			msg := query(b, q.name, q.typ)
			var r zone.Request
			w := zone.Response{Buf: make([]byte, 0, zone.MaxUDP)}
			b.ReportAllocs()
			for b.Loop() {
				rcode, _ := r.Parse(msg)
				z.Respond(&r, rcode, &w, zone.MaxUDP)
			}
		})
	}
}

// BenchmarkChange is one Service's change becoming a new Zone.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{50, 5000, 50000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := large(n)
			changes := w.Subscribe(world.Services, world.Namespaces, world.Nodes)
			a := zone.NewBuilder(domainOf("cluster.local"), nil)
			build(a, w, changes.Take(), 1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				w.Put(dnstest.Slice("ns1", "svc-1", fmt.Sprintf("10.250.0.%d", i%200), 4))
				build(a, w, changes.Take(), 1)
			}
		})
	}
}

// BenchmarkLoad is the first Zone of a cluster, and what it holds on to.
func BenchmarkLoad(b *testing.B) {
	w := large(50000)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		a := zone.NewBuilder(domainOf("cluster.local"), nil)
		build(a, w, w.Subscribe(world.Services, world.Namespaces, world.Nodes).Take(), 1)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
		runtime.KeepAlive(a)
	}
}

// BenchmarkLoopback is whole queries per second over real sockets, generator and server on the same
// machine; eight clients keep 32 queries each under way.
func BenchmarkLoopback(b *testing.B) {
	s := serve(b, Config{}, large(2000))
	queries := make([][]byte, 2000)
	for i := range queries {
		queries[i] = query(b, fmt.Sprintf("svc-%d.ns%d.svc.cluster.local.", i, i%100), miekg.TypeA)
	}
	var left atomic.Int64
	var clients sync.WaitGroup
	left.Store(int64(b.N))
	b.ResetTimer()
	for range 8 {
		clients.Go(func() {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.cfg.Addrs[0]))
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			pump(b, c, queries, &left)
		})
	}
	clients.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}

// pump sends batches of 32 queries and waits for their answers until none are left.
func pump(b *testing.B, c *net.UDPConn, queries [][]byte, left *atomic.Int64) {
	m, err := newBatchConn(c)
	if err != nil {
		b.Error(err)
		return
	}
	for i := range m.out {
		m.out[i].Name = nil
	}
	next := 0
	for left.Add(-batchSize) > -batchSize {
		m.queued, m.count = batchSize, 0
		for i := range batchSize {
			q := queries[next%len(queries)]
			next++
			m.outVecs[i].Base = &q[0]
			m.outVecs[i].SetLen(len(q))
		}
		if err := m.raw.Write(m.flushed); err != nil {
			b.Error(err)
			return
		}
		for got := 0; got < batchSize; got += m.count {
			if err := m.receive(); err != nil {
				b.Error(err)
				return
			}
		}
	}
}
