package nodestatus

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version is what the node reports as its kubelet's version: the release of Kubernetes whose behaviour the agent follows.
const Version = "v1.37.2+fairlead"

// MaxPods is how many pods a node takes, as upstream's default.
const MaxPods = 110

// declared are what this agent does of what only some do, in the order of their names: pods that need one are put on nodes that have it,
// and the API refuses to change running ones to need it on others (KEP-5328).
var declared = []string{"InPlacePodLevelResourcesVerticalScaling", "RestartAllContainersOnContainerExits"}

// nodeStatus is the status the node reports. old gives the times of conditions that have not changed.
func nodeStatus(old *corev1.NodeStatus, cfg Config, f facts, ready corev1.NodeCondition, runtimeVersion string, images []*runtimeapi.Image, now time.Time) corev1.NodeStatus {
	s := *old.DeepCopy()
	s.Addresses = nil
	for _, ip := range cfg.IPs {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.String()})
	}
	s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: cfg.Name})
	s.Capacity = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(f.cpus), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(f.memory, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(MaxPods, resource.DecimalSI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(f.disk, resource.BinarySI),
	}
	for name, q := range old.Capacity { // resources that somebody else has given the node stay, as with kubelet
		if strings.Contains(string(name), "/") {
			s.Capacity[name] = q
		}
	}
	s.Allocatable = s.Capacity.DeepCopy()
	s.DaemonEndpoints.KubeletEndpoint.Port = int32(cfg.Port)
	s.NodeInfo = corev1.NodeSystemInfo{
		MachineID: f.machineID, SystemUUID: f.systemID, BootID: f.bootID, KernelVersion: f.kernel, OSImage: f.osImage,
		ContainerRuntimeVersion: runtimeVersion, KubeletVersion: Version, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	s.DeclaredFeatures = slices.Clone(declared)
	s.Images = imageList(images)
	s.Conditions = conditions(old.Conditions, f, ready, now)
	return s
}

// conditions are the node's own, then those that others report about it.
func conditions(old []corev1.NodeCondition, f facts, ready corev1.NodeCondition, now time.Time) []corev1.NodeCondition {
	var all []corev1.NodeCondition
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
		for i := range old {
			if o := &old[i]; o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		all = append(all, c)
	}
	for _, o := range old { // what others report about the node stays
		if !slices.ContainsFunc(all, func(c corev1.NodeCondition) bool { return c.Type == o.Type }) {
			all = append(all, o)
		}
	}
	return all
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

// sameNodeStatus compares without the times of heartbeats.
func sameNodeStatus(a, b *corev1.NodeStatus) bool {
	plain := func(s *corev1.NodeStatus) *corev1.NodeStatus {
		s = s.DeepCopy()
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
		return s
	}
	return equality.Semantic.DeepEqual(plain(a), plain(b))
}

// rangesLike picks from the ranges one of the family of each address, in the addresses' order.
func rangesLike(addrs []netip.Addr, ranges []string) ([]netip.Prefix, error) {
	var picked []netip.Prefix
	for _, a := range addrs {
		for _, text := range ranges {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() == a.Is4() {
				picked = append(picked, p)
				break
			}
		}
	}
	if len(picked) < len(addrs) {
		return nil, fmt.Errorf("ranges of pod addresses %v, one for each of %v is needed", ranges, addrs)
	}
	return picked, nil
}
