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
	"k8s.io/apimachinery/pkg/types"
	helpers "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// grants are the pods that this node has taken and that have not ended, and the resources of those that have been given others than they
// came with.
type grants struct {
	mu    sync.Mutex
	pods  map[types.UID]*corev1.Pod
	byPod map[types.UID]life.Resources
}

// others are the other pods, each asking for what it has been given. The caller holds mu.
func (g *grants) others(pod *corev1.Pod) (all []*corev1.Pod) {
	for uid, other := range g.pods {
		if uid == pod.UID {
			continue
		}
		given, ok := g.byPod[uid]
		if !ok {
			given = life.Reported(other)
		}
		all = append(all, life.Given(other, given))
	}
	return all
}

// regrant gives a pod what it asks for now if the node has it: reason is then empty.
func (g *grants) regrant(pod *corev1.Pod, capacity [2]int64) (reason, message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if lack := lacking(capacity, pod, g.others(pod)); lack != nil {
		if lack.requested > lack.capacity {
			return corev1.PodReasonInfeasible, fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", lack.name, lack.requested, lack.capacity)
		}
		return corev1.PodReasonDeferred, lack.String()
	}
	g.byPod[pod.UID] = life.Asked(pod)
	return "", ""
}

// retryResize is after how long a pod that waits for resources is decided about again.
const retryResize = 5 * time.Second

// allocate decides about resources that the pod asks for and has not been given (KEP-1287). It returns when to look again.
func (w *worker) allocate() time.Duration {
	r := &w.mem.Resizing
	if w.terminating() || w.mem.Rejected != nil || api.Finished(w.pod) {
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
	w.allocateAt = time.Now().Add(retryResize)
	pod := w.pod
	reason, message := w.a.admitted.regrant(pod, w.a.node().Capacity)
	if reason == "" {
		w.mem.Given = life.Asked(pod)
		*r = life.Resizing{Accepted: pod.Generation}
		w.event(corev1.EventTypeNormal, "ResizeStarted", resizeText(pod, pod.Generation, "Pod resize started", ""))
		return resyncPeriod
	}
	if r.Pending != reason || r.Generation != pod.Generation {
		w.event(corev1.EventTypeWarning, "Resize"+reason, resizeText(pod, pod.Generation, "Pod resize "+reason, message))
	}
	r.Pending, r.Message, r.Generation = reason, message, pod.Generation
	return retryResize
}

// lack is a resource of which the node has not enough.
type lack struct {
	name                      corev1.ResourceName
	requested, used, capacity int64
}

// String is upstream's message.
func (l *lack) String() string {
	return fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", l.name, l.requested, l.used, l.capacity)
}

// lacking is what a node has not enough of for a pod beside others, first what it never has; nil if it has all. capacity is processor in thousandths and
// memory in bytes.
func lacking(capacity [2]int64, pod *corev1.Pod, others []*corev1.Pod) *lack {
	wants := helpers.PodRequests(pod, helpers.PodResourcesOptions{})
	var used [2]int64
	names := [2]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}
	for _, other := range others {
		requests := helpers.PodRequests(other, helpers.PodResourcesOptions{})
		for i, name := range names {
			used[i] += amount(name, requests[name])
		}
	}
	var found *lack
	for i, name := range names {
		l := &lack{name, amount(name, wants[name]), used[i], capacity[i]}
		if l.requested > 0 && l.used+l.requested > l.capacity && (found == nil || l.requested > l.capacity) {
			found = l
		}
	}
	return found
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
