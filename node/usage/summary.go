package usage

import (
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"fairlead.dev/fairlead/api/usage"
)

// Pages are what a node serves of this, by path: the answer to the control plane, and kubelet's paths.
func (r Reader) Pages(dir string) map[string]http.Handler {
	s := NewSampler(r.Read)
	return map[string]http.Handler{
		usage.Path:          s,
		"/metrics/resource": page(r.Read, resource),
		"/metrics/cadvisor": page(r.Read, cadvisor),
		"/stats/summary": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			first, last, err := s.Pair(q.Context())
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			out := summary(r.Node, first, last)
			if q.URL.Query().Get("only_cpu_and_memory") != "true" {
				out.Node.Fs = filesystem(dir, last.Time)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out) // who has gone does not read it
		}),
	}
}

// summary is what is at /stats/summary, with what was used between two samples.
func summary(node string, first, last Sample) stats.Summary {
	rates := map[string]uint64{}
	report := Report(first, last)
	for _, p := range report.Pods {
		for _, c := range p.Containers {
			rates[p.UID+"/"+c.Name] = c.NanoCores
			rates[p.UID] += c.NanoCores
		}
	}
	at := metav1.NewTime(last.Time)
	out := stats.Summary{Node: stats.NodeStats{NodeName: node, CPU: processor(at, last.Node, &report.Node.NanoCores), Memory: memory(at, last.Node), Swap: swap(at, last.Node)}}
	out.Node.Memory.AvailableBytes = &last.Node.Available
	for _, p := range last.Pods {
		pod := stats.PodStats{
			PodRef: stats.PodReference{Name: p.Name, Namespace: p.Namespace, UID: p.UID}, StartTime: metav1.NewTime(p.Started), Containers: []stats.ContainerStats{},
			CPU: processor(at, p.Count, rateOf(rates, p.UID)), Memory: memory(at, p.Count), Swap: swap(at, p.Count), Network: link(at, p.Network),
		}
		for _, c := range p.Containers {
			pod.Containers = append(pod.Containers, stats.ContainerStats{Name: c.Name, StartTime: metav1.NewTime(c.Started),
				CPU: processor(at, c.Count, rateOf(rates, p.UID+"/"+c.Name)), Memory: memory(at, c.Count), Swap: swap(at, c.Count)})
		}
		out.Pods = append(out.Pods, pod)
	}
	return out
}

// rateOf is what somebody used, nil where that is not known yet.
func rateOf(rates map[string]uint64, key string) *uint64 {
	if n, ok := rates[key]; ok {
		return &n
	}
	return nil
}

func processor(at metav1.Time, c Count, rate *uint64) *stats.CPUStats {
	return &stats.CPUStats{Time: at, UsageNanoCores: rate, UsageCoreNanoSeconds: &c.CPU}
}

func memory(at metav1.Time, c Count) *stats.MemoryStats {
	return &stats.MemoryStats{Time: at, UsageBytes: &c.Usage, WorkingSetBytes: &c.WorkingSet, RSSBytes: &c.RSS, PageFaults: &c.Faults, MajorPageFaults: &c.MajorFaults}
}

func swap(at metav1.Time, c Count) *stats.SwapStats {
	return &stats.SwapStats{Time: at, SwapUsageBytes: &c.Swap}
}

// link is what has passed the link of a pod, nil for one in the network of its node.
func link(at metav1.Time, n Network) *stats.NetworkStats {
	if !n.Known {
		return nil
	}
	eth := stats.InterfaceStats{Name: podLink, RxBytes: &n.RxBytes, RxErrors: &n.RxErrors, TxBytes: &n.TxBytes, TxErrors: &n.TxErrors}
	return &stats.NetworkStats{Time: at, InterfaceStats: eth, Interfaces: []stats.InterfaceStats{eth}}
}

// filesystem is how full the one is that a directory lies in, nil when it cannot be asked.
func filesystem(dir string, at time.Time) *stats.FsStats {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return nil
	}
	block := uint64(fs.Bsize)
	size, free, used := fs.Blocks*block, fs.Bavail*block, (fs.Blocks-fs.Bfree)*block
	inodes, inodesUsed := fs.Files, fs.Files-fs.Ffree
	return &stats.FsStats{Time: metav1.NewTime(at), AvailableBytes: &free, CapacityBytes: &size, UsedBytes: &used, InodesFree: &fs.Ffree, Inodes: &inodes, InodesUsed: &inodesUsed}
}
