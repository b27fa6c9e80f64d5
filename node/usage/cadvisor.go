package usage

import (
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What is at /metrics/cadvisor, under cAdvisor's names: of cgroups, of the networks of pods, of the machine.
var (
	counted = []series[Count]{
		{"container_cpu_usage_seconds_total", "Processor time that has been used.", counter, always(func(c Count) float64 { return cpuSeconds(c.CPU) })},
		{"container_cpu_cfs_periods_total", "Periods in which there was a limit.", counter, limited(func(c Count) float64 { return float64(c.Periods) })},
		{"container_cpu_cfs_throttled_periods_total", "Periods in which the limit was reached.", counter, limited(func(c Count) float64 { return float64(c.Throttled) })},
		{"container_cpu_cfs_throttled_seconds_total", "Time for which the limit held something up.", counter, limited(func(c Count) float64 { return cpuSeconds(c.ThrottledTime) })},
		{"container_memory_usage_bytes", "All memory, what may be given up included.", gauge, always(func(c Count) float64 { return float64(c.Usage) })},
		{"container_memory_working_set_bytes", "Memory without what of files the kernel would give up first.", gauge, always(func(c Count) float64 { return float64(c.WorkingSet) })},
		{"container_memory_rss", "Anonymous memory.", gauge, always(func(c Count) float64 { return float64(c.RSS) })},
		{"container_memory_cache", "Memory that holds files.", gauge, always(func(c Count) float64 { return float64(c.Cache) })},
		{"container_memory_swap", "Swap that is used.", gauge, always(func(c Count) float64 { return float64(c.Swap) })},
	}
	passed = []series[Network]{
		{"container_network_receive_bytes_total", "Bytes received.", counter, known(func(n Network) uint64 { return n.RxBytes })},
		{"container_network_receive_packets_total", "Packets received.", counter, known(func(n Network) uint64 { return n.RxPackets })},
		{"container_network_receive_errors_total", "Packets received in error.", counter, known(func(n Network) uint64 { return n.RxErrors })},
		{"container_network_receive_packets_dropped_total", "Packets received and dropped.", counter, known(func(n Network) uint64 { return n.RxDropped })},
		{"container_network_transmit_bytes_total", "Bytes sent.", counter, known(func(n Network) uint64 { return n.TxBytes })},
		{"container_network_transmit_packets_total", "Packets sent.", counter, known(func(n Network) uint64 { return n.TxPackets })},
		{"container_network_transmit_errors_total", "Packets that could not be sent.", counter, known(func(n Network) uint64 { return n.TxErrors })},
		{"container_network_transmit_packets_dropped_total", "Packets dropped instead of sent.", counter, known(func(n Network) uint64 { return n.TxDropped })},
	}
	machine = []series[Count]{
		{"machine_cpu_cores", "Processors of the machine.", gauge, always(func(Count) float64 { return float64(runtime.NumCPU()) })},
		{"machine_memory_bytes", "Memory of the machine.", gauge, always(func(c Count) float64 { return float64(c.Total) })},
	}
)

func limited(value func(Count) float64) func(Count) (float64, bool) {
	return func(c Count) (float64, bool) { return value(c), c.Periods > 0 }
}

func known(value func(Network) uint64) func(Network) (float64, bool) {
	return func(n Network) (float64, bool) { return float64(value(n)), n.Known }
}

// ofContainers are the labels by which cAdvisor's series are known. Of a pod as a whole container, image and name are empty.
var ofContainers = []string{"id", "name", "image", "container", "pod", "namespace"}

// cadvisor is a sample as at /metrics/cadvisor.
func cadvisor(to chan<- prometheus.Metric, s Sample, err error) {
	write(to, scrapeErrors[:1], err != nil, time.Time{}, nil, nil)
	if err != nil {
		return
	}
	write(to, machine, s.Node, time.Time{}, nil, nil)
	write(to, counted, s.Node, s.Time, ofContainers, []string{"/", "", "", "", "", ""})
	for _, p := range s.Pods {
		whole := []string{p.Group, "", "", "", p.Name, p.Namespace}
		write(to, counted, p.Count, s.Time, ofContainers, whole)
		write(to, passed, p.Network, s.Time, append(ofContainers, "interface"), append(whole, podLink))
		for _, c := range p.Containers {
			values := []string{filepath.Join(p.Group, c.ID), c.ID, c.Image, c.Name, p.Name, p.Namespace}
			write(to, counted, c.Count, s.Time, ofContainers, values)
			write(to, startOfContainer, c, time.Time{}, ofContainers, values)
		}
	}
}
