package node

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version is what the node reports as its kubelet's version: the release of Kubernetes whose behaviour the agent follows.
const Version = "v1.37.2+fairlead"

// maxPods is how many pods a node takes, as upstream's default.
const maxPods = 110

// facts are measurements of the node.
type facts struct {
	cpus                        int
	memory, available           int64 // bytes
	disk, diskFree              int64
	inodes, inodesFree          int64
	pids, pidLimit              int64
	machineID, bootID, systemID string
	kernel, osImage             string
}

func memoryBytes() int64 { return meminfo("MemTotal:") }

// meminfo reads one line of /proc/meminfo, in bytes.
func meminfo(key string) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if rest, ok := strings.CutPrefix(line, key); ok {
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// measure reads the node's facts. What cannot be read stays zero and is not judged.
func measure(dir string) facts {
	f := facts{
		cpus: runtime.NumCPU(), memory: memoryBytes(), available: meminfo("MemAvailable:"),
		machineID: firstLine("/etc/machine-id"), bootID: firstLine("/proc/sys/kernel/random/boot_id"),
		systemID: firstLine("/sys/class/dmi/id/product_uuid"), kernel: firstLine("/proc/sys/kernel/osrelease"), osImage: osImage(),
	}
	if f.machineID == "" {
		f.machineID = strings.ReplaceAll(f.bootID, "-", "")
	}
	if f.systemID == "" {
		f.systemID = f.machineID
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		f.disk, f.diskFree = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
		f.inodes, f.inodesFree = int64(fs.Files), int64(fs.Ffree)
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		f.pids = int64(info.Procs)
	}
	fmt.Sscan(firstLine("/proc/sys/kernel/pid_max"), &f.pidLimit)
	return f
}

func osImage() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return "Linux"
}

// nodeStatus is the status the node reports. old gives the times of conditions that have not changed.
func nodeStatus(old *corev1.NodeStatus, cfg Config, f facts, ready corev1.NodeCondition, engine string, images []*runtimeapi.Image, now time.Time) corev1.NodeStatus {
	s := *old.DeepCopy()
	s.Addresses = nil
	for _, ip := range cfg.IPs {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.String()})
	}
	s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: cfg.Name})
	s.Capacity = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(f.cpus), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(f.memory, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(f.disk, resource.BinarySI),
	}
	s.Allocatable = s.Capacity.DeepCopy()
	s.DaemonEndpoints.KubeletEndpoint.Port = int32(cfg.Listen.Port())
	s.NodeInfo = corev1.NodeSystemInfo{
		MachineID: f.machineID, SystemUUID: f.systemID, BootID: f.bootID, KernelVersion: f.kernel, OSImage: f.osImage,
		ContainerRuntimeVersion: engine, KubeletVersion: Version, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	s.Images = imageList(images)
	s.Conditions = nil
	for _, c := range []corev1.NodeCondition{
		pressure(corev1.NodeMemoryPressure, f.memory > 0 && f.available < 100<<20,
			"KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		pressure(corev1.NodeDiskPressure, f.disk > 0 && (f.diskFree < f.disk/10 || (f.inodes > 0 && f.inodesFree < f.inodes/20)),
			"KubeletHasDiskPressure", "kubelet has disk pressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		pressure(corev1.NodePIDPressure, f.pidLimit > 0 && f.pids > f.pidLimit*9/10,
			"KubeletHasInsufficientPID", "kubelet has insufficient PID available", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		ready,
	} {
		c.LastHeartbeatTime = metav1.NewTime(now).Rfc3339Copy()
		c.LastTransitionTime = c.LastHeartbeatTime
		for i := range old.Conditions {
			if o := &old.Conditions[i]; o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		s.Conditions = append(s.Conditions, c)
	}
	for _, o := range old.Conditions { // what others report about the node stays
		if !slices.ContainsFunc(s.Conditions, func(c corev1.NodeCondition) bool { return c.Type == o.Type }) {
			s.Conditions = append(s.Conditions, o)
		}
	}
	return s
}

func pressure(kind corev1.NodeConditionType, bad bool, badReason, badMessage, goodReason, goodMessage string) corev1.NodeCondition {
	if bad {
		return corev1.NodeCondition{Type: kind, Status: corev1.ConditionTrue, Reason: badReason, Message: badMessage}
	}
	return corev1.NodeCondition{Type: kind, Status: corev1.ConditionFalse, Reason: goodReason, Message: goodMessage}
}

// maxImages is how many images a node lists (kubelet's nodeStatusMaxImages).
const maxImages = 50

// imageList lists the node's images, the largest first.
func imageList(images []*runtimeapi.Image) []corev1.ContainerImage {
	images = slices.Clone(images)
	slices.SortFunc(images, func(a, b *runtimeapi.Image) int {
		if a.Size != b.Size {
			if a.Size > b.Size {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Id, b.Id)
	})
	var out []corev1.ContainerImage
	for _, i := range images[:min(len(images), maxImages)] {
		out = append(out, corev1.ContainerImage{Names: append(slices.Clone(i.RepoDigests), i.RepoTags...), SizeBytes: int64(i.Size)})
	}
	return out
}

// readiness is the node's Ready condition from what stands in its way.
func readiness(problem string) corev1.NodeCondition {
	if problem != "" {
		return corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: problem}
	}
	return corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
}

// runtimeProblem asks the runtime for its own conditions; empty means that pods can be run.
func (a *Agent) runtimeProblem(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	answer, err := a.engine.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return "container runtime is down: " + message(err)
	}
	var problems []string
	for _, c := range answer.Status.GetConditions() {
		switch {
		case c.Status:
		case c.Type == runtimeapi.NetworkReady:
			problems = append(problems, fmt.Sprintf("container runtime network not ready: %s=%v reason:%s message:%s", c.Type, c.Status, c.Reason, c.Message))
		case c.Type == runtimeapi.RuntimeReady:
			problems = append(problems, fmt.Sprintf("container runtime not ready: %s=%v reason:%s message:%s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return strings.Join(problems, ", ")
}
