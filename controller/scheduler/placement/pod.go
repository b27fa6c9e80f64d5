package placement

import (
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"

	"fairlead.dev/fairlead/api"
)

// amounts are quantities by resource: millicores of cpu, bytes or pieces of all
// others.
type amounts map[corev1.ResourceName]int64

func amountsOf(list corev1.ResourceList) amounts {
	out := make(amounts, len(list))
	for name, q := range list {
		if name == corev1.ResourceCPU {
			out[name] = q.MilliValue()
		} else {
			out[name] = q.Value()
		}
	}
	return out
}

// assumed is what a container that requests nothing still costs when nodes are compared (the same figures as upstream's scheduler).
var assumed = corev1.ResourceList{
	corev1.ResourceCPU:    *quantity.NewMilliQuantity(100, quantity.DecimalSI),
	corev1.ResourceMemory: *quantity.NewQuantity(200<<20, quantity.BinarySI),
}

// hostPort is a port a pod takes on its node. An unset host IP is "0.0.0.0".
type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

// Pod is what counts of a pod that is on a node or looks for one. It holds on to no object of a cache.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	Labels          labels.Set
	Priority        int32
	Leaving         bool // it is being deleted
	Preempted       bool // it is being deleted to make room

	started  int64 // when its node began with it, in nanoseconds; the end of time: it has not
	requests amounts
	cpu, mem int64 // for comparing nodes; zero of no container
	ports    []hostPort
	group    string   // those it is spread with; empty: counts for no group
	terms    *terms   // what it says of other pods; nil: nothing
	claims   []string // the claims of its volumes
}

// NewPod is what counts of p. A terminating pod still costs, but no longer counts as
// one of its group: its replacement may take its place.
func NewPod(p *corev1.Pod) *Pod {
	out := &Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Labels: p.Labels, Leaving: p.DeletionTimestamp != nil,
		started: math.MaxInt64, ports: portsOf(p), terms: termsOf(p), claims: claimsOf(p)}
	if p.Spec.Priority != nil {
		out.Priority = *p.Spec.Priority
	}
	if p.Status.StartTime != nil {
		out.started = p.Status.StartTime.UnixNano()
	}
	if !out.Leaving {
		out.group = GroupOf(p)
	}
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		out.Preempted = out.Preempted || out.Leaving && c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue &&
			c.Reason == corev1.PodReasonPreemptionByScheduler
	}
	out.requests = amountsOf(resource.PodRequests(p, resource.PodResourcesOptions{UseStatusResources: true}))
	compared := resource.PodRequests(p, resource.PodResourcesOptions{UseStatusResources: true, NonMissingContainerRequests: assumed})
	out.cpu, out.mem = compared.Cpu().MilliValue(), compared.Memory().Value()
	return out
}

// portsOf lists the host ports of the pod's containers and sidecars.
func portsOf(p *corev1.Pod) []hostPort {
	var out []hostPort
	for c := range api.ServingContainers(&p.Spec) {
		for _, port := range c.Ports {
			if port.HostPort == 0 {
				continue
			}
			h := hostPort{ip: port.HostIP, protocol: api.Protocol(port.Protocol), port: port.HostPort}
			if h.ip == "" {
				h.ip = "0.0.0.0"
			}
			out = append(out, h)
		}
	}
	return out
}

// GroupOf names the pods that should not share a node if they need not: those of
// one controller, or, without a controller, those with the same labels.
func GroupOf(p *corev1.Pod) string {
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		return string(ref.UID)
	}
	if len(p.Labels) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(p.Namespace)
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		b.WriteString("," + k + "=" + p.Labels[k])
	}
	return b.String()
}

// UsesClaims reports whether where the pod can go depends on volumes.
func UsesClaims(p *corev1.Pod) bool { return len(claimsOf(p)) > 0 }

// claimsOf are the names of the claims that the pod's volumes are: of one that lives as long as the pod, pod and volume.
func claimsOf(p *corev1.Pod) []string {
	var out []string
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			out = append(out, p.Name+"-"+v.Name)
		}
	}
	return out
}
