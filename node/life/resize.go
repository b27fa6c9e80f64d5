package life

import (
	"maps"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// Resources are what a pod and its containers, by name, ask for or have been given.
type Resources struct {
	Pod        *corev1.ResourceRequirements // of the pod as a whole; nil: nothing
	Containers map[string]corev1.ResourceRequirements
}

// Asked is what a pod's specification asks for.
func Asked(pod *corev1.Pod) Resources {
	r := Resources{Pod: pod.Spec.Resources.DeepCopy(), Containers: map[string]corev1.ResourceRequirements{}}
	eachContainer(pod, func(c *corev1.Container) { r.Containers[c.Name] = *c.Resources.DeepCopy() })
	return r
}

// Reported is what an earlier agent has given the pod, as it told in the pod's status, and what the specification asks for where it told
// nothing.
func Reported(pod *corev1.Pod) Resources {
	r := Asked(pod)
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if _, ok := r.Containers[list[i].Name]; ok && list[i].Resources != nil {
				r.Containers[list[i].Name] = *list[i].Resources.DeepCopy()
			}
		}
	}
	if r.Pod != nil && pod.Status.Resources != nil {
		r.Pod = pod.Status.Resources.DeepCopy()
	}
	return r
}

func eachContainer(pod *corev1.Pod, f func(*corev1.Container)) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			f(&list[i])
		}
	}
}

// Same tells whether processor and memory are the same; nothing else of a running pod can change.
func (r Resources) Same(other Resources) bool {
	return maps.EqualFunc(r.Containers, other.Containers, func(a, b corev1.ResourceRequirements) bool { return len(resized(&a, &b)) == 0 }) &&
		len(resized(r.Pod, other.Pod)) == 0
}

// resized are the resources, of processor and memory, whose request or limit differ.
func resized(a, b *corev1.ResourceRequirements) []corev1.ResourceName {
	var none corev1.ResourceRequirements
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	var names []corev1.ResourceName
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if !sameQuantity(a.Requests, b.Requests, name) || !sameQuantity(a.Limits, b.Limits, name) {
			names = append(names, name)
		}
	}
	return names
}

func sameQuantity(a, b corev1.ResourceList, name corev1.ResourceName) bool {
	x, y := a[name], b[name]
	return x.Cmp(y) == 0
}

// Given is a pod that asks for just what it has been given; the pod itself where that is what it asks for.
func Given(pod *corev1.Pod, r Resources) *corev1.Pod {
	if Asked(pod).Same(r) {
		return pod
	}
	pod = pod.DeepCopy()
	pod.Spec.Resources = r.Pod.DeepCopy()
	eachContainer(pod, func(c *corev1.Container) {
		if given, ok := r.Containers[c.Name]; ok {
			c.Resources = *given.DeepCopy()
		}
	})
	return pod
}

// Resizing is how far a change of the resources of a running pod has come (KEP-1287).
type Resizing struct {
	Pending    string // why what is asked for has not been given: Deferred or Infeasible; "" when it has
	Message    string // what stands against it
	Generation int64  // of the object that Pending is about

	Accepted int64  // the generation of the object whose resources are being applied; 0: none
	Error    string // why they could not be, last
}

// misfits calls f for every running container whose resources in the runtime are not those that it has been given.
func (v View) misfits(f func(spec *corev1.Container, c *Container, differ []corev1.ResourceName)) {
	v.eachSpec(func(spec *corev1.Container, init bool) {
		c := v.Seen.Newest(spec.Name)
		if c == nil || c.State != Running || init && !api.Sidecar(spec) {
			return
		}
		given, known := v.Mem.Given.Containers[spec.Name]
		applied, told := v.Mem.Applied[c.ID]
		if !known || !told {
			return
		}
		if differ := resized(bounded(given, v.Mem.Given.Pod), bounded(applied, v.Mem.AppliedPod)); len(differ) > 0 {
			f(spec, c, differ)
		}
	})
}

// bounded are a container's resources with the limits of the whole pod where it has none of its own.
func bounded(r corev1.ResourceRequirements, whole *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	out := r.DeepCopy()
	if whole == nil {
		return out
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit, ok := whole.Limits[name]
		if own := out.Limits[name]; ok && own.IsZero() {
			if out.Limits == nil {
				out.Limits = corev1.ResourceList{}
			}
			out.Limits[name] = limit
		}
	}
	return out
}

// Resized tells whether the runtime has what the pod has been given.
func Resized(v View) bool {
	done := len(resized(v.Mem.Given.Pod, v.Mem.AppliedPod)) == 0
	v.misfits(func(*corev1.Container, *Container, []corev1.ResourceName) { done = false })
	v.eachSpec(func(spec *corev1.Container, _ bool) {
		if c := v.Seen.Newest(spec.Name); c != nil && v.Mem.Replaced[c.ID] {
			done = false // it comes back with them
		}
	})
	return done
}

// resize applies what the pod has been given: containers that have to begin anew for that are ended, the others are changed as they run.
func (v View) resize(p *Plan) {
	change := len(resized(v.Mem.Given.Pod, v.Mem.AppliedPod)) > 0
	v.misfits(func(spec *corev1.Container, c *Container, differ []corev1.ResourceName) {
		if !restartsFor(spec, differ) {
			change = true
			return
		}
		v.replace(p, c, "Container "+spec.Name+" resize requires restart")
	})
	switch {
	case !change || v.Mem.Applying:
	case v.Now.Before(v.Mem.ApplyRetry):
		p.wakeAt(v.Mem.ApplyRetry)
	default:
		p.do(Action{Kind: Resize})
	}
}

// restartsFor tells whether a container has to begin anew when these of its resources change.
func restartsFor(spec *corev1.Container, differ []corev1.ResourceName) bool {
	for _, policy := range spec.ResizePolicy {
		for _, name := range differ {
			if policy.ResourceName == name && policy.RestartPolicy == corev1.RestartContainer {
				return true
			}
		}
	}
	return false
}

// Misfit is a running container whose resources are to be changed in the runtime.
type Misfit struct {
	Name, ID       string
	Given, Applied corev1.ResourceRequirements
}

// Misfits are the containers that are changed as they run.
func Misfits(v View) []Misfit {
	var out []Misfit
	v.misfits(func(spec *corev1.Container, c *Container, differ []corev1.ResourceName) {
		if !restartsFor(spec, differ) {
			given, applied := v.Mem.Given.Containers[spec.Name], v.Mem.Applied[c.ID]
			out = append(out, Misfit{spec.Name, c.ID, *bounded(given, v.Mem.Given.Pod), *bounded(applied, v.Mem.AppliedPod)})
		}
	})
	return out
}

// withResources puts into a container's status what it has been given and what the runtime has of that.
func (v View) withResources(s *corev1.ContainerStatus) {
	given, ok := v.Mem.Given.Containers[s.Name]
	if !ok {
		return
	}
	actual := given
	if c := v.Seen.Newest(s.Name); c != nil && c.State == Running {
		if applied, told := v.Mem.Applied[c.ID]; told {
			actual = applied
		}
	}
	s.AllocatedResources, s.Resources = given.DeepCopy().Requests, actual.DeepCopy()
}

// resizeConditions are there while a change of resources waits or is being applied.
func (v View) resizeConditions() []corev1.PodCondition {
	var out []corev1.PodCondition
	r := v.Mem.Resizing
	if v.terminating() || api.Finished(v.Pod) {
		return nil
	}
	if r.Pending != "" {
		out = append(out, corev1.PodCondition{Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: r.Pending, Message: r.Message, ObservedGeneration: r.Generation})
	}
	if r.Accepted != 0 {
		c := corev1.PodCondition{Type: corev1.PodResizeInProgress, Status: corev1.ConditionTrue, Message: r.Error, ObservedGeneration: r.Accepted}
		if r.Error != "" {
			c.Reason = corev1.PodReasonError
		}
		out = append(out, c)
	}
	return out
}
