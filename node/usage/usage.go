// Package usage tells what a node and its pods use: for the control plane, which answers metrics.k8s.io with it, and at kubelet's paths
// /stats/summary, /metrics/resource and /metrics/cadvisor. The kernel counts it in any case, in the cgroups of the containers; it is read
// when somebody asks, and nothing wakes while nobody does.
package usage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/server"
	"fairlead.dev/fairlead/node/spec"
)

// Count is what the kernel has counted of a group of processes. Times are in nanoseconds, sizes in bytes.
type Count struct {
	CPU                               uint64
	Usage, WorkingSet                 uint64 // of memory
	RSS, Cache, Swap                  uint64
	Available, Total                  uint64 // of the machine only
	Faults, MajorFaults               uint64
	Periods, Throttled, ThrottledTime uint64 // of groups with a limit of processor time
}

// Network is what has passed the link of a pod.
type Network struct {
	Known                                   bool
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// Container is a running container and what has been counted of it.
type Container struct {
	Name, ID, Image string
	Started         time.Time
	Count
}

// Pod is a pod with a running sandbox.
type Pod struct {
	Namespace, Name, UID string
	Group                string // its cgroup
	Started              time.Time
	Network              Network
	Containers           []Container
	Count                // of all of it
}

// Sample is everything that has been counted at one time.
type Sample struct {
	Time time.Time
	Node Count
	Pods []Pod
}

// Reader reads samples of one node.
type Reader struct {
	Node       string
	CgroupRoot string // of the node's pods
	Pods       interface {
		List(ctx context.Context) []server.Pod
	}
}

// Read takes a sample. What ends while it is read is not in it.
func (r Reader) Read(ctx context.Context) (Sample, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Sample{}, err
	}
	from, err := findTrees(string(text))
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Time: time.Now()}
	if s.Node, err = from.countAll(); err != nil {
		return Sample{}, fmt.Errorf("what the node uses: %w", err)
	}
	for _, p := range r.Pods.List(ctx) {
		if pod, ok := r.pod(from, p.Object, p.Seen); ok {
			s.Pods = append(s.Pods, pod)
		}
	}
	return s, nil
}

// pod is what has been counted of one pod; false when it does not run.
func (r Reader) pod(from trees, pod *corev1.Pod, seen life.Observed) (Pod, bool) {
	sandbox := seen.Ready()
	if sandbox == nil {
		return Pod{}, false
	}
	group := spec.PodCgroup(pod, r.CgroupRoot)
	all, err := from.count(group)
	if err != nil {
		return Pod{}, false
	}
	out := Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID), Group: group, Count: all}
	if pod.Status.StartTime != nil {
		out.Started = pod.Status.StartTime.Time
	}
	if !pod.Spec.HostNetwork {
		out.Network = network(from.pid(filepath.Join(group, sandbox.ID)))
	}
	for name, list := range seen.Containers {
		if len(list) == 0 || list[0].State != life.Running {
			continue
		}
		if c, err := from.count(filepath.Join(group, list[0].ID)); err == nil {
			out.Containers = append(out.Containers, Container{name, list[0].ID, list[0].SpecImage, list[0].Started, c})
		}
	}
	return out, true
}

// podLink is the link of every pod that has a network of its own.
const podLink = "eth0"

// network is what has passed the link of the pod that a process belongs to.
func network(pid int) Network {
	if pid == 0 {
		return Network{}
	}
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return Network{}
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, rest, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		words := strings.Fields(rest)
		if !ok || name != podLink || len(words) < 12 {
			continue
		}
		n := make([]uint64, 12)
		for i := range n {
			n[i], _ = strconv.ParseUint(words[i], 10, 64)
		}
		return Network{true, n[0], n[1], n[2], n[3], n[8], n[9], n[10], n[11]}
	}
	return Network{}
}
