package nft

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/world"
)

// The benchmarks measure the whole way from the World's objects to the commit
// in the kernel, in a network namespace of their own. The baseline is a ruleset
// of the shape that kube-proxy 1.36 writes in its nftables mode (a chain and an
// anonymous map per Service), loaded with nft -f as kube-proxy does; what
// kube-proxy itself does besides is not counted.

// benchConfig is of a node with IPv4 only.
func benchConfig() Config {
	cfg := testConfig
	cfg.ServiceCIDRs = cfg.ServiceCIDRs[:1]
	return cfg
}

// crowd is a World of n Services with two ports' worth of nothing but TCP.
func crowd(n, endpoints int) *world.World {
	w := world.New()
	for i := range n {
		w.Put(newService(fmt.Sprint("s", i), crowdIP(i).String(), corev1.ServicePort{Name: "tcp", Port: 80, Protocol: corev1.ProtocolTCP}))
		w.Put(newSlice(fmt.Sprint("s", i), crowdEndpoints(i, endpoints)...))
	}
	w.MarkSynced()
	return w
}

func crowdIP(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(97 + i>>16), byte(i >> 8), byte(i)})
}

func crowdEndpoints(i, n int) []netip.Addr {
	var all []netip.Addr
	for j := range n {
		k := i*8 + j
		all = append(all, netip.AddrFrom4([4]byte{10, byte(128 + k>>16), byte(k >> 8), byte(k)}))
	}
	return all
}

func crowdName(i int) world.ServiceName {
	return world.ServiceName{Namespace: "default", Name: fmt.Sprint("s", i)}
}

func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ services, endpoints int }{{5000, 2}, {50000, 2}, {50000, 4}} {
		b.Run(fmt.Sprintf("fairlead/%dx%d", size.services, size.endpoints), func(b *testing.B) {
			w := crowd(size.services, size.endpoints)
			for range b.N {
				b.StopTimer()
				l := stepped(b, netlab.New(b, "n1"), benchConfig(), w)
				runtime.GC()
				b.StartTimer()
				cpu := cpuTime()
				if err := l.step(world.Changes{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64((cpuTime() - cpu).Milliseconds()), "cpu-ms/op")
				if n := l.proxy.Stats(); n.Services != size.services {
					b.Fatalf("%+v", n)
				}
				again := time.Now()
				l.tables[0].stale = true
				if err := l.tables[0].write(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(again).Milliseconds()), "ms/rewrite")
				b.StartTimer()
			}
		})
	}
	for _, n := range []int{500, 2000, 5000} {
		b.Run(fmt.Sprintf("kube-proxy-shape/%dx2", n), func(b *testing.B) {
			file := b.TempDir() + "/rules.nft"
			writeKubeProxyShape(b, file, n, 2)
			for range b.N {
				b.StopTimer()
				ns := netlab.New(b, "n1")
				b.StartTimer()
				nftLoad(b, ns, file)
			}
		})
	}
}

// BenchmarkChange takes one endpoint away from a Service, or gives it back.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 5000, 50000} {
		b.Run(fmt.Sprintf("fairlead/%d", n), func(b *testing.B) {
			w := crowd(n, 4)
			l := stepped(b, netlab.New(b, "n1"), benchConfig(), w)
			if err := l.step(world.Changes{}); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				k := i / 2 * 7919 % n
				w.Put(newSlice(fmt.Sprint("s", k), crowdEndpoints(k, 4-(i+1)%2)...))
				change := world.Changes{Services: map[world.ServiceName]struct{}{crowdName(k): {}}}
				b.StartTimer()
				start := time.Now()
				if err := l.step(change); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			b.StopTimer()
			report(b, took)
			if s := l.proxy.Stats(); s.Rewrites != 1 {
				b.Errorf("changes took rewrites: %+v", s)
			}
		})
	}
	for _, n := range []int{10, 500, 2000} {
		b.Run(fmt.Sprintf("kube-proxy-shape/%d", n), func(b *testing.B) {
			dir := b.TempDir()
			writeKubeProxyShape(b, dir+"/rules.nft", n, 4)
			ns := netlab.New(b, "n1")
			nftLoad(b, ns, dir+"/rules.nft")
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				k := i / 2 * 7919 % n
				text := "flush chain ip t " + kubeProxyChain(k) + "\n" + kubeProxyRule(k, 4-(i+1)%2)
				if err := os.WriteFile(dir+"/change.nft", []byte(text), 0o600); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				start := time.Now()
				nftLoad(b, ns, dir+"/change.nft")
				took = append(took, time.Since(start))
			}
			b.StopTimer()
			report(b, took)
		})
	}
}

// BenchmarkOneMoreEverywhere gives every Service one endpoint more, in one
// transaction, as when a node full of pods returns.
func BenchmarkOneMoreEverywhere(b *testing.B) {
	const n = 8000
	w := crowd(n, 6)
	l := stepped(b, netlab.New(b, "n1"), benchConfig(), w)
	if err := l.step(world.Changes{}); err != nil {
		b.Fatal(err)
	}
	all := world.Changes{Services: map[world.ServiceName]struct{}{}}
	for i := range n {
		all.Services[crowdName(i)] = struct{}{}
	}
	b.ResetTimer()
	for round := range b.N {
		b.StopTimer()
		for i := range n {
			w.Put(newSlice(fmt.Sprint("s", i), crowdEndpoints(i, 6+(round+1)%2)...))
		}
		b.StartTimer()
		if err := l.step(all); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what this process has used, in user space and in the kernel: on a
// machine that others use too it says more than the clock.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(p float64) float64 { return float64(took[int(p*float64(len(took)-1))].Nanoseconds()) / 1000 }
	b.ReportMetric(at(0.5), "us/p50")
	b.ReportMetric(at(0.99), "us/p99")
}

func nftLoad(b *testing.B, ns *netlab.Netns, file string) {
	b.Helper()
	ns.Do(func() {
		if out, err := exec.Command("nft", "-f", file).CombinedOutput(); err != nil {
			b.Errorf("nft -f: %v: %.500s", err, out)
		}
	})
}

func kubeProxyChain(i int) string { return fmt.Sprintf("service-ULMVA%05d-ns1/svc%d/tcp/p80", i, i) }

func kubeProxyRule(i, endpoints int) string {
	var choices []string
	for j, a := range crowdEndpoints(i, endpoints) {
		choices = append(choices, fmt.Sprintf("%d : %s . 8080", j, a))
	}
	return fmt.Sprintf("add rule ip t %s meta l4proto tcp dnat ip addr . port to numgen random mod %d map { %s }\n",
		kubeProxyChain(i), endpoints, strings.Join(choices, ", "))
}

func writeKubeProxyShape(b *testing.B, file string, n, endpoints int) {
	b.Helper()
	var s strings.Builder
	s.WriteString("add table ip t\nadd map ip t svc { type ipv4_addr . inet_proto . inet_service : verdict; }\n" +
		"add chain ip t pre { type nat hook prerouting priority -100; }\nadd chain ip t services\nadd rule ip t pre jump services\n" +
		"add rule ip t services ip daddr . meta l4proto . th dport vmap @svc\n")
	for i := range n {
		fmt.Fprintf(&s, "add chain ip t %s\n%sadd element ip t svc { %s . tcp . 80 : goto %s }\n",
			kubeProxyChain(i), kubeProxyRule(i, endpoints), crowdIP(i), kubeProxyChain(i))
	}
	if err := os.WriteFile(file, []byte(s.String()), 0o600); err != nil {
		b.Fatal(err)
	}
}
