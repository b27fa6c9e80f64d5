package spec

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helpers "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodDir is where a node keeps what belongs to a pod, in the directory of all pods.
func PodDir(dir string, pod *corev1.Pod) string {
	return filepath.Join(dir, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

// LogDir is where the logs of a pod's containers are.
func LogDir(dir string, pod *corev1.Pod) string { return filepath.Join(PodDir(dir, pod), "logs") }

// MessageFile is where a container's last message is.
func MessageFile(dir string, pod *corev1.Pod, container string, attempt uint32) string {
	return filepath.Join(PodDir(dir, pod), "messages", container, fmt.Sprint(attempt))
}

// LogPath is the path of a container's log below the pod's log directory.
func LogPath(container string, attempt uint32) string {
	return fmt.Sprintf("%s/%d.log", container, attempt)
}

// Inputs are the parts of a container's configuration that come from outside of the pod spec.
type Inputs struct {
	Attempt     uint32
	ImageID     string // the image to run, by its id
	User        User
	Env         []*runtimeapi.KeyValue
	Mounts      []*runtimeapi.Mount
	MessageFile string // where the container's termination message will be found on the node
	MemoryNode  int64  // the node's memory in bytes
	Target      string // the container whose processes this one sees, by its id
}

// Container is the configuration of one container.
func Container(pod *corev1.Pod, c *corev1.Container, in Inputs) (*runtimeapi.ContainerConfig, error) {
	security, err := Security(pod, c, in.User)
	if err != nil {
		return nil, err
	}
	if processes := security.NamespaceOptions; in.Target != "" && processes.Pid == runtimeapi.NamespaceMode_CONTAINER {
		processes.Pid, processes.TargetId = runtimeapi.NamespaceMode_TARGET, in.Target
	}
	values := make(map[string]string, len(in.Env))
	for _, kv := range in.Env {
		values[kv.Key] = string(kv.Value)
	}
	labels := PodLabels(pod)
	labels[LabelContainerName] = c.Name
	return &runtimeapi.ContainerConfig{
		Metadata:   &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:      &runtimeapi.ImageSpec{Image: in.ImageID, UserSpecifiedImage: c.Image},
		Command:    expandAll(c.Command, values),
		Args:       expandAll(c.Args, values),
		WorkingDir: c.WorkingDir,
		Envs:       in.Env,
		Mounts:     in.Mounts,
		Labels:     labels,
		Annotations: map[string]string{
			AnnotationGrace:         Grace(pod),
			AnnotationImage:         c.Image,
			AnnotationMessagePath:   in.MessageFile,
			AnnotationMessagePolicy: string(c.TerminationMessagePolicy),
			AnnotationRestartCount:  fmt.Sprint(in.Attempt),
		},
		LogPath:   LogPath(c.Name, in.Attempt),
		Stdin:     c.Stdin,
		StdinOnce: c.StdinOnce,
		Tty:       c.TTY,
		Linux:     &runtimeapi.LinuxContainerConfig{Resources: Resources(pod, c, in.MemoryNode), SecurityContext: security},
	}, nil
}

// ExpandStatic expands the command of a probe: of the container's variables those count that the pod itself has the values of (kubelet).
func ExpandStatic(command []string, env []corev1.EnvVar) []string {
	values := make(map[string]string, len(env))
	for i := range env {
		values[env[i].Name] = env[i].Value
	}
	return expandAll(command, values)
}

func expandAll(list []string, values map[string]string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Expand(s, values)
	}
	return out
}

// Limits of the kernel and of kubelet's arithmetic for CPU: microseconds per period, shares per core.
const (
	cpuPeriod = 100_000
	minQuota  = 1_000
	minShares = 2
	maxShares = 262_144
)

// Resources translates requests and limits: CPU requests to shares, CPU limits to quota, memory limits, and the score by which
// the kernel chooses whom to kill when memory runs out.
func Resources(pod *corev1.Pod, c *corev1.Container, nodeMemory int64) *runtimeapi.LinuxContainerResources {
	r := &runtimeapi.LinuxContainerResources{CpuShares: minShares, OomScoreAdj: oomScore(pod, c, nodeMemory)}
	request, limit, memory := c.Resources.Requests.Cpu(), c.Resources.Limits.Cpu(), c.Resources.Limits.Memory()
	if request.IsZero() {
		request = limit
	}
	if whole := pod.Spec.Resources; whole != nil { // what a container has no limit of its own for the whole pod's bounds (KEP-2837)
		if limit.IsZero() {
			limit = whole.Limits.Cpu()
		}
		if memory.IsZero() {
			memory = whole.Limits.Memory()
		}
	}
	setCPU(r, request, limit)
	r.MemoryLimitInBytes = memory.Value()
	return r
}

// setCPU translates a request of processor to shares, and a limit to a quota.
func setCPU(r *runtimeapi.LinuxContainerResources, request, limit *resource.Quantity) {
	if !request.IsZero() {
		r.CpuShares = min(max(request.MilliValue()*1024/1000, minShares), maxShares)
	}
	if !limit.IsZero() {
		r.CpuPeriod = cpuPeriod
		r.CpuQuota = max(limit.MilliValue()*cpuPeriod/1000, minQuota)
	}
}

// PodResources are what all containers of a pod have together, with its overhead; nil where the pod says nothing as a whole.
func PodResources(pod *corev1.Pod) *runtimeapi.LinuxContainerResources {
	if !helpers.IsPodLevelResourcesSet(pod) {
		return nil
	}
	requests, limits := helpers.PodRequests(pod, helpers.PodResourcesOptions{}), helpers.PodLimits(pod, helpers.PodResourcesOptions{})
	r := &runtimeapi.LinuxContainerResources{CpuShares: minShares}
	none := &resource.Quantity{}
	cpu, memory := limits.Cpu(), limits.Memory()
	if pod.Spec.Resources.Limits.Cpu().IsZero() {
		cpu = none
	}
	if pod.Spec.Resources.Limits.Memory().IsZero() {
		memory = none
	}
	setCPU(r, requests.Cpu(), cpu)
	r.MemoryLimitInBytes = memory.Value()
	return r
}

// oomScore follows kubelet: guaranteed pods go last, best-effort ones first, others by the share of memory they asked for.
func oomScore(pod *corev1.Pod, c *corev1.Container, nodeMemory int64) int64 {
	switch pod.Status.QOSClass {
	case corev1.PodQOSGuaranteed:
		return -997
	case corev1.PodQOSBestEffort:
		return 1000
	}
	if nodeMemory <= 0 {
		return 999
	}
	score := 1000 - 1000*c.Resources.Requests.Memory().Value()/nodeMemory
	return min(max(score, 3), 999)
}
