package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	helpers "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// grants are the resources that pods of this node have been given anew, while their status may not tell it yet. Those of the others
// are told by the API.
type grants struct {
	deciding sync.Mutex // two must not be given the same
	mu       sync.Mutex
	byPod    map[types.UID]life.Resources
}

func (g *grants) of(uid types.UID) (life.Resources, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	given, ok := g.byPod[uid]
	return given, ok
}

func (g *grants) set(uid types.UID, given life.Resources) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byPod[uid] = given
}

func (g *grants) forget(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byPod, uid)
}

// retryResize is after how long a pod that waits for resources is decided about again.
const retryResize = 5 * time.Second

// allocate decides about resources that the pod asks for and has not been given (KEP-1287). It returns when to look again.
func (w *worker) allocate(ctx context.Context) time.Duration {
	r := &w.mem.Resizing
	if w.terminating() || w.mem.Rejected != nil || api.Finished(w.pod) || w.allocating {
		return resyncPeriod
	}
	if life.Asked(w.pod).Same(w.mem.Given) {
		r.Pending, r.Message = "", ""
		return resyncPeriod
	}
	if r.Pending != "" && r.Generation == w.pod.Generation {
		if left := time.Until(w.allocateAt); r.Pending == corev1.PodReasonInfeasible || left > 0 {
			return max(left, time.Second)
		}
	}
	w.allocating = true
	pod := w.pod
	w.async(func() func() {
		reason, message, err := w.a.grant(ctx, pod)
		return func() {
			w.allocating, w.allocateAt = false, time.Now().Add(retryResize)
			switch {
			case err != nil:
				if ctx.Err() == nil {
					w.log.Warn("a change of the pod's resources cannot be decided about", "err", err)
				}
				*r = life.Resizing{Pending: corev1.PodReasonDeferred, Message: err.Error(), Generation: pod.Generation, Accepted: r.Accepted}
			case reason != "":
				if r.Pending != reason || r.Generation != pod.Generation {
					w.event(corev1.EventTypeWarning, "Resize"+reason, resizeText(pod, pod.Generation, "Pod resize "+reason, message))
				}
				r.Pending, r.Message, r.Generation = reason, message, pod.Generation
			default:
				w.mem.Given = life.Asked(pod)
				*r = life.Resizing{Accepted: pod.Generation}
				w.event(corev1.EventTypeNormal, "ResizeStarted", resizeText(pod, pod.Generation, "Pod resize started", ""))
			}
		}
	})
	return resyncPeriod
}

// grant gives the pod what it asks for if the node has it: reason is then empty.
func (a *Agent) grant(ctx context.Context, pod *corev1.Pod) (reason, message string, err error) {
	a.grants.deciding.Lock()
	defer a.grants.deciding.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	node, err := a.client.CoreV1().Nodes().Get(ctx, a.cfg.Name, metav1.GetOptions{})
	if err != nil {
		return "", "", err
	}
	pods, err := a.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + a.cfg.Name, ResourceVersion: "0"})
	if err != nil {
		return "", "", err
	}
	var others []*corev1.Pod
	for i := range pods.Items {
		other := &pods.Items[i]
		if other.UID == pod.UID || api.Finished(other) {
			continue
		}
		given, ok := a.grants.of(other.UID)
		if !ok {
			given = life.Reported(other)
		}
		others = append(others, life.Given(other, given))
	}
	if reason, message = fits(node.Status.Allocatable, pod, others); reason == "" {
		a.grants.set(pod.UID, life.Asked(pod))
	}
	return reason, message, nil
}

// fits tells why a node does not have what a pod requests beside the others, in upstream's words: Infeasible, it never has; Deferred, it
// may have later.
func fits(has corev1.ResourceList, pod *corev1.Pod, others []*corev1.Pod) (reason, message string) {
	wants := helpers.PodRequests(pod, helpers.PodResourcesOptions{})
	used := map[corev1.ResourceName]int64{}
	for _, other := range others {
		for name, q := range helpers.PodRequests(other, helpers.PodResourcesOptions{}) {
			used[name] += amount(name, q)
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		capacity, request := amount(name, has[name]), amount(name, wants[name])
		switch {
		case request > capacity:
			return corev1.PodReasonInfeasible, fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", name, request, capacity)
		case request > 0 && used[name]+request > capacity && reason == "":
			reason = corev1.PodReasonDeferred
			message = fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, request, used[name], capacity)
		}
	}
	return reason, message
}

// amount is a quantity in the unit that upstream's messages have: thousandths of a processor, bytes of memory.
func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// resizeText is the message of an Event about a change of resources, as upstream writes it.
func resizeText(pod *corev1.Pod, generation int64, what, problem string) string {
	type allocation struct {
		Name      string                      `json:"name"`
		Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	}
	var summary struct {
		InitContainers []allocation `json:"initContainers,omitempty"`
		Containers     []allocation `json:"containers,omitempty"`
		Generation     int64        `json:"generation"`
		Error          string       `json:"error,omitempty"`
	}
	for _, c := range pod.Spec.InitContainers {
		summary.InitContainers = append(summary.InitContainers, allocation{c.Name, c.Resources})
	}
	for _, c := range pod.Spec.Containers {
		summary.Containers = append(summary.Containers, allocation{c.Name, c.Resources})
	}
	summary.Generation, summary.Error = generation, problem
	text, err := json.Marshal(summary)
	if err != nil {
		return what
	}
	return what + ": " + string(text)
}

// beginResize has the runtime and the pod's group take over what the pod has been given.
func (w *worker) beginResize(ctx context.Context) {
	w.mem.Applying = true
	pod, misfits := w.current(), life.Misfits(w.view())
	from, given := w.mem.AppliedPod, w.mem.Given
	to := given.Pod
	w.async(func() func() {
		done, err := w.a.applyResources(ctx, pod, from, to, misfits)
		return func() {
			w.mem.Applying = false
			for _, m := range done {
				w.mem.Applied[m.ID] = given.Containers[m.Name]
			}
			if err == nil {
				w.mem.AppliedPod, w.mem.Resizing.Error = to, ""
				return
			}
			w.mem.ApplyRetry = time.Now().Add(retryResize)
			if text := kuberuntime.Message(err); ctx.Err() == nil && w.mem.Resizing.Error != text {
				w.mem.Resizing.Error = text
				w.event(corev1.EventTypeWarning, "ResizeError", resizeText(pod, w.mem.Resizing.Accepted, "Pod resize error", text))
			}
		}
	})
}

// endResize records that the runtime has what was accepted.
func (w *worker) endResize() {
	r := &w.mem.Resizing
	if r.Accepted == 0 || !life.Resized(w.view()) {
		return
	}
	w.event(corev1.EventTypeNormal, "ResizeCompleted", resizeText(w.current(), r.Accepted, "Pod resize completed", ""))
	r.Accepted, r.Error = 0, ""
}

// restoreResources takes over what an earlier agent had given the pod and told the runtime.
func (w *worker) restoreResources() {
	w.mem.Given = life.Reported(w.pod)
	w.mem.AppliedPod = w.mem.Given.Pod
	for _, list := range [][]corev1.ContainerStatus{w.pod.Status.InitContainerStatuses, w.pod.Status.ContainerStatuses} {
		for i := range list {
			s := &list[i]
			if c := w.seen.Newest(s.Name); c != nil && c.State == life.Running && s.Resources != nil && strings.HasSuffix(s.ContainerID, "/"+c.ID) {
				w.mem.Applied[c.ID] = *s.Resources.DeepCopy()
			}
		}
	}
}

// applyResources tells the runtime the resources of running containers, those that get less first. done are the ones that it took.
func (a *Agent) applyResources(ctx context.Context, pod *corev1.Pod, from, to *corev1.ResourceRequirements, misfits []life.Misfit) (done []life.Misfit, err error) {
	slices.SortStableFunc(misfits, func(x, y life.Misfit) int { return cmp.Compare(growth(x), growth(y)) })
	for _, m := range misfits {
		if err := a.lessThanUsed(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := a.setPodGroup(pod, larger(from, to)); err != nil {
		return nil, err
	}
	for _, m := range misfits {
		c := spec.FindContainer(pod, m.Name)
		resources := spec.Resources(pod, c, a.node().Capacity[1])
		if _, err := a.runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: m.ID, Linux: resources}); err != nil {
			return done, err
		}
		done = append(done, m)
	}
	return done, a.setPodGroup(pod, to)
}

// setPodGroup bounds what the containers of a pod have together, where it says something as a whole.
func (a *Agent) setPodGroup(pod *corev1.Pod, whole *corev1.ResourceRequirements) error {
	if whole == nil {
		return nil
	}
	pod = pod.DeepCopy()
	pod.Spec.Resources = whole
	if limits := spec.PodResources(pod); limits != nil {
		return a.containerd.SetPodGroup(filepath.Base(spec.PodCgroup(pod, a.cfg.CgroupRoot)), limits)
	}
	return nil
}

// larger has of each resource the larger amount: while containers change one after the other there has to be room for both.
func larger(a, b *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	if a == nil || b == nil {
		return b
	}
	out := b.DeepCopy()
	for _, list := range []struct{ from, to corev1.ResourceList }{{a.Requests, out.Requests}, {a.Limits, out.Limits}} {
		for name, q := range list.from {
			if now, ok := list.to[name]; ok && q.Cmp(now) > 0 {
				list.to[name] = q
			}
		}
	}
	return out
}

// growth orders changes: what gives memory or processor back comes first.
func growth(m life.Misfit) int64 {
	return m.Given.Limits.Memory().Value() - m.Applied.Limits.Memory().Value() + m.Given.Requests.Cpu().MilliValue() - m.Applied.Requests.Cpu().MilliValue()
}

// lessThanUsed refuses a limit of memory that a container is beyond already: the kernel would end it.
func (a *Agent) lessThanUsed(ctx context.Context, m life.Misfit) error {
	limit, before := m.Given.Limits.Memory().Value(), m.Applied.Limits.Memory().Value()
	if limit == 0 || before != 0 && limit >= before {
		return nil
	}
	answer, err := a.runtime.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: m.ID})
	if err != nil {
		return err
	}
	memory := answer.GetStats().GetMemory()
	used := memory.GetUsageBytes().GetValue()
	if used == 0 {
		used = memory.GetWorkingSetBytes().GetValue()
	}
	if used >= uint64(limit) {
		return fmt.Errorf("attempting to set container %q memory limit (%d) below current usage (%d)", m.Name, limit, used)
	}
	return nil
}
