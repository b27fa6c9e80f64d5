package clients

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"fairlead.dev/fairlead/dns"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/world"
)

const services = 2000

// outsideAt is the server of names outside the cluster.
var outsideAt = netip.AddrPortFrom(gateway, 5303)

// BenchmarkServer loads the server with dnsperf, another process, through the link of a pod: what the benchmark's own
// process uses is what the server uses. The baseline is the least that can be written with another library: it looks
// names up in a map. Each figure is of one run of some seconds.
func BenchmarkServer(b *testing.B) {
	names := make([]string, services)
	for i := range names {
		names[i] = fmt.Sprintf("svc-%d.ns%d.svc.cluster.local A", i, i%100)
	}
	outside := []string{"www.corp.example A", "api.corp.example A", "www.other.example A"}
	walk := []string{"www.corp.example.ns1.svc.cluster.local A", "www.corp.example.svc.cluster.local A", "www.corp.example.cluster.local A", "www.corp.example A"}
	absent := slices.Clone(names)
	for i := range absent {
		absent[i] = "no-" + absent[i]
	}
	node := netlab.New(b, "perf")
	pod := netlab.Pod(node, "perf-pod", podIP, gateway)
	miekgServer(b, node, outsideAt, outside)
	for server, begin := range map[string]func(at netip.AddrPort){
		"fairlead": func(at netip.AddrPort) { ours(b, node, at) },
		"miekg":    func(at netip.AddrPort) { miekgServer(b, node, at, append(slices.Clone(names), outside...)) },
	} {
		at := netip.AddrPortFrom(gateway, map[string]uint16{"fairlead": 5301, "miekg": 5302}[server])
		begin(at)
		for _, mix := range []struct {
			what  string
			names []string
		}{{"one", names[:1]}, {"2000", names}, {"absent", absent}, {"walk", walk}, {"outside", outside}} {
			b.Run(mix.what+"/"+server, func(b *testing.B) { flood(b, pod, at, mix.names) })
		}
		b.Run("p99/"+server, func(b *testing.B) { oneByOne(b, pod, at) })
	}
}

// flood has dnsperf keep 200 queries under way.
func flood(b *testing.B, from *netlab.Netns, at netip.AddrPort, names []string) {
	file := filepath.Join(b.TempDir(), "names")
	if err := os.WriteFile(file, []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := processTime()
		out, err := from.Command("dnsperf", "-s", at.Addr().String(), "-p", fmt.Sprint(at.Port()), "-d", file, "-l", "3", "-c", "8", "-T", "1", "-q", "200")
		used := processTime() - before
		if err != nil {
			b.Fatal(err, out)
		}
		completed := number(b, out, `Queries completed: +(\d+)`)
		b.ReportMetric(number(b, out, `Queries per second: +([\d.]+)`), "queries/s")
		b.ReportMetric(float64(used.Microseconds())/completed, "cpu-us/query")
		b.ReportMetric(number(b, out, `Queries lost: +(\d+)`), "lost")
	}
}

// oneByOne asks 20 000 times and reports how long answers take.
func oneByOne(b *testing.B, from *netlab.Netns, at netip.AddrPort) {
	for b.Loop() {
		c, err := from.Dial("udp", netip.Addr{}, at, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		q, err := new(miekg.Msg).SetQuestion("svc-1.ns1.svc.cluster.local.", miekg.TypeA).Pack()
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 1500)
		took := make([]time.Duration, 20000)
		for i := range took {
			begin := time.Now()
			if _, err := c.Write(q); err != nil {
				b.Fatal(err)
			}
			c.SetReadDeadline(begin.Add(5 * time.Second))
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(begin)
		}
		c.Close()
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-us")
	}
}

func number(b *testing.B, text, pattern string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		b.Fatalf("no %s in\n%s", pattern, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ours is our server with 2000 Services, and an upstream server that is asked once for each name.
func ours(b *testing.B, node *netlab.Netns, at netip.AddrPort) {
	w := world.New()
	ip := netip.MustParseAddr("10.96.1.0")
	for i := range services {
		ip = ip.Next()
		w.Put(service(fmt.Sprintf("ns%d", i%100), fmt.Sprintf("svc-%d", i), ip.String()))
	}
	w.MarkSynced()
	start(b, node, dns.Config{
		Addrs: []netip.AddrPort{at}, Stubs: map[string][]netip.AddrPort{"example": {outsideAt}},
		Dial: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			node.Do(func() { c, err = new(net.Dialer).DialContext(ctx, network, address) })
			return c, err
		},
	}, w)
}

// miekgServer answers from a map; what is not in it does not exist.
func miekgServer(b *testing.B, node *netlab.Netns, at netip.AddrPort, names []string) {
	known := map[string]miekg.RR{}
	for _, n := range names {
		name := strings.TrimSuffix(n, " A") + "."
		rr, err := miekg.NewRR(name + " 600 IN A 192.0.2.80")
		if err != nil {
			b.Fatal(err)
		}
		known[name] = rr
	}
	soa, err := miekg.NewRR("cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5")
	if err != nil {
		b.Fatal(err)
	}
	s := &miekg.Server{Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
		m := new(miekg.Msg).SetReply(q)
		if rr := known[strings.ToLower(q.Question[0].Name)]; rr != nil {
			m.Answer = []miekg.RR{rr}
		} else {
			m.Rcode, m.Ns = miekg.RcodeNameError, []miekg.RR{soa}
		}
		w.WriteMsg(m)
	})}
	ready := make(chan struct{})
	s.NotifyStartedFunc = func() { close(ready) }
	node.Do(func() {
		s.PacketConn, err = listenPacket(at)
	})
	if err != nil {
		b.Fatal(err)
	}
	go s.ActivateAndServe()
	<-ready
	b.Cleanup(func() { s.Shutdown() })
}

func listenPacket(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}
