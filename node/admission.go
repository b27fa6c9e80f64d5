package node

import (
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/nodestatus"
	"fairlead.dev/fairlead/node/spec"
)

// admit refuses what this node must not or cannot run, and ends what has been active for too long. It returns the time after which a look
// at that has to be taken again.
func (w *worker) admit() time.Duration {
	if w.mem.Rejected != nil {
		return resyncPeriod
	}
	if reason, message := w.refusal(); reason != "" {
		w.reject(reason, message, "Pod was rejected: "+message)
		return resyncPeriod
	}
	deadline := life.Deadline(w.view())
	if deadline.IsZero() {
		return resyncPeriod
	}
	if left := time.Until(deadline); left > 0 {
		return left
	}
	const overdue = "Pod was active on the node longer than the specified deadline"
	w.reject("DeadlineExceeded", overdue, overdue)
	return resyncPeriod
}

func (w *worker) reject(reason, message, status string) {
	w.mem.Rejected = &life.Rejection{Reason: reason, Message: status}
	w.a.admitted.release(w.uid)
	if w.pod.Status.Phase != corev1.PodFailed {
		w.event(corev1.EventTypeWarning, reason, message)
	}
}

// refusal is why the node does not take the pod, with upstream's reasons and words. What is asked for once, when the pod is new, may have
// changed later.
func (w *worker) refusal() (reason, message string) {
	if message := spec.ForbiddenSysctl(w.pod); message != "" {
		return "SysctlForbidden", message
	}
	if w.asked || api.Finished(w.pod) {
		return "", ""
	}
	w.asked = true
	if w.terminating() || w.pod.Status.StartTime != nil || len(w.seen.Sandboxes) > 0 {
		return "", "" // it was taken before
	}
	if spec.WantsAppArmor(w.pod) && !appArmor() {
		return "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
	}
	return w.a.admitted.take(w.pod, w.a.node().Capacity)
}

// appArmor tells whether the kernel enforces profiles.
func appArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(text), "Y")
}

// release gives back what a pod had of the node.
func (g *grants) release(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pods, uid)
	delete(g.byPod, uid)
}

// keep notes a pod that was taken before this agent began.
func (g *grants) keep(pod *corev1.Pod) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pods[pod.UID] = pod
}

// take notes a pod, unless the node has not what it asks for: mostly the scheduler has seen to that, but pods can be put on a node by hand.
func (g *grants) take(pod *corev1.Pod, capacity [2]int64) (reason, message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	others := g.others(pod)
	if len(others) >= nodestatus.MaxPods {
		return "OutOfpods", fmt.Sprintf("Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", len(others), nodestatus.MaxPods)
	}
	if lack := lacking(capacity, pod, others); lack != nil {
		return "OutOf" + string(lack.name), lack.String()
	}
	for _, other := range others {
		if samePort(pod, other) {
			return "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
		}
	}
	g.pods[pod.UID] = pod
	return "", ""
}

// samePort tells whether two pods want a port of the node on the same address.
func samePort(a, b *corev1.Pod) bool {
	for p := range hostPorts(a) {
		for q := range hostPorts(b) {
			sameIP := p.ip == q.ip || p.ip == "" || q.ip == ""
			if p.protocol == q.protocol && p.port == q.port && sameIP {
				return true
			}
		}
	}
	return false
}

type hostPort struct {
	ip       string // "": every one
	protocol corev1.Protocol
	port     int32
}

// hostPorts are the ports of the node that a pod's running containers have.
func hostPorts(pod *corev1.Pod) map[hostPort]bool {
	ports := map[hostPort]bool{}
	for c := range api.ServingContainers(&pod.Spec) {
		for _, p := range c.Ports {
			ip := p.HostIP
			if ip == "0.0.0.0" || ip == "::" {
				ip = ""
			}
			if p.HostPort > 0 {
				ports[hostPort{ip, api.Protocol(p.Protocol), p.HostPort}] = true
			}
		}
	}
	return ports
}
