package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idlePeriod is how long BenchmarkPods looks at a node that has nothing to do but to probe.
const idlePeriod = 10 * time.Second

// BenchmarkPods reports how long 1, 2 and 20 pods take until they are Ready, and what 23 pods with probes every second cost the
// process, the API server included, while nothing happens. Run it with -benchtime 1x.
func BenchmarkPods(tb *testing.B) {
	for tb.Loop() {
		b := newBench(tb)
		for _, n := range []int{1, 2, 20} {
			cpu, own := runtimeCPU(b), used(tb)
			begin := time.Now()
			for i := range n {
				p := pod(fmt.Sprintf("p%d-%d", n, i), "serve")
				p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
				b.create(p)
			}
			for i := range n {
				b.await(fmt.Sprintf("p%d-%d", n, i), "ready", ready)
			}
			tb.ReportMetric(float64(time.Since(begin).Milliseconds()), fmt.Sprintf("ms/%d-pods", n))
			if n == 20 {
				tb.ReportMetric(float64((runtimeCPU(b)-cpu).Milliseconds())/20, "runtime-cpu-ms/pod")
				tb.ReportMetric(float64((used(tb)-own).Milliseconds())/20, "own-cpu-ms/pod")
			}
		}
		before, begin := used(tb), time.Now()
		for time.Since(begin) < idlePeriod {
			time.Sleep(idlePeriod / 10)
		}
		tb.ReportMetric(100*float64(used(tb)-before)/float64(time.Since(begin)), "%core-idle")
	}
}

// runtimeCPU is the processor time of containerd, its shims and everything they have run and seen end.
func runtimeCPU(b *bench) time.Duration {
	b.t.Helper()
	lists, err := filepath.Glob("/sys/fs/cgroup/*" + b.containerd.CgroupRoot + "/containerd/cgroup.procs")
	if err != nil || len(lists) == 0 {
		b.t.Fatalf("containerd's cgroup: %v", err)
	}
	text, err := os.ReadFile(lists[0])
	if err != nil {
		b.t.Fatal(err)
	}
	ticks := 0
	for _, pid := range strings.Fields(string(text)) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, err := strconv.Atoi(f)
			if err != nil {
				b.t.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// used is the processor time of this process.
func used(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
