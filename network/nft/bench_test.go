package nft

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/world"
)

// The benchmark measures the whole way from the World's objects to the commit
// in the kernel, in a network namespace of its own: for profiles, and for
// comparing one version with another. The figures of docs/benchmarks.md, with a
// baseline and of single changes, are those of package bench.

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

func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ services, endpoints int }{{5000, 2}, {50000, 2}, {50000, 4}} {
		b.Run(fmt.Sprintf("%dx%d", size.services, size.endpoints), func(b *testing.B) {
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
