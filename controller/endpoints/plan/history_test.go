package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// history is a Service and pods to which random things happen. After every step the plans are
// carried out, and what they leave is compared with an oracle that knows nothing about slices,
// groups or packing: a set of lines, one per pod, family and port.
type history struct {
	random *rand.Rand
	store  store
	svc    *corev1.Service
	pods   map[string]*corev1.Pod
	object *corev1.Endpoints
	next   int // pod number
}

func TestRandomHistories(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := &history{
				random: rand.New(rand.NewPCG(seed, 7)),
				svc:    sample.Service(),
				pods:   map[string]*corev1.Pod{},
			}
			for step := range 60 {
				what := h.happen()
				if !h.check(t) {
					t.Fatalf("step %d: after %s", step, what)
				}
			}
		})
	}
}

// happen changes the world in one way.
func (h *history) happen() string {
	events := []struct {
		name string
		do   func()
	}{
		{"a pod comes", func() { h.add(1) }},
		{"some pods come", func() { h.add(h.random.IntN(30)) }},
		{"many pods come", func() { h.add(h.random.IntN(180)) }},
		{"a pod goes", func() { h.each(1, func(p *corev1.Pod) { delete(h.pods, p.Name) }) }},
		{"many pods go", func() { h.each(h.random.IntN(120), func(p *corev1.Pod) { delete(h.pods, p.Name) }) }},
		{"pods flip", func() { h.each(h.random.IntN(5), h.flip) }},
		{"pods begin to end", func() { h.each(h.random.IntN(5), sample.Terminating) }},
		{"pods fail", func() { h.each(2, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }) }},
		{"pods change address", func() { h.each(3, h.address) }},
		{"pods are replaced under the same name", func() { h.each(2, func(p *corev1.Pod) { p.UID += "x" }) }},
		{"pods get a host name", func() { h.each(2, func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = p.Name, "web" }) }},
		{"the port moves", func() { h.svc.Spec.Ports[0].TargetPort = intstr.FromInt32(h.random.Int32N(3) + 8080) }},
		{"the port is named", func() { namedTarget(h.svc) }},
		{"a second port comes or goes", h.secondPort},
		{"unready addresses are published or not", func() { h.svc.Spec.PublishNotReadyAddresses = !h.svc.Spec.PublishNotReadyAddresses }},
		{"the families change", h.families},
		{"the labels change", func() { h.svc.Labels = map[string]string{"team": fmt.Sprint(h.random.IntN(3))} }},
		{"the distribution changes", h.distribution},
		{"the Service is made anew", func() { h.svc.UID += "x" }},
		{"somebody edits", h.tamper},
		{"nothing", func() {}},
	}
	event := events[h.random.IntN(len(events))]
	event.do()
	return event.name
}

func (h *history) add(n int) {
	for range n {
		h.next++
		pod := sample.Pod(fmt.Sprintf("p%05d", h.next), "", serves(8080+h.random.Int32N(2), corev1.ProtocolTCP))
		h.address(pod)
		if h.random.IntN(4) == 0 {
			pod.Spec.Containers[0].Ports = nil
		}
		if h.random.IntN(4) == 0 {
			sample.Unready(pod)
		}
		pod.Spec.NodeName = []string{"n0", "n1", "n2"}[h.random.IntN(3)]
		h.pods[pod.Name] = pod
	}
}

// each changes copies of n random pods: what plans have seen is never changed afterwards.
func (h *history) each(n int, change func(*corev1.Pod)) {
	names := slices.Sorted(maps.Keys(h.pods))
	h.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:min(n, len(names))] {
		pod := h.pods[name].DeepCopy()
		h.pods[name] = pod
		change(pod)
	}
}

func (h *history) flip(pod *corev1.Pod) {
	ready, _ := api.PodReadiness(pod)
	sample.SetReady(pod, !ready, sample.Epoch.Add(time.Duration(h.random.IntN(1000))*time.Second))
}

func (h *history) address(pod *corev1.Pod) {
	h.next++
	v4 := corev1.PodIP{IP: fmt.Sprintf("10.244.%d.%d", h.next/250, h.next%250+1)}
	v6 := corev1.PodIP{IP: fmt.Sprintf("fd00::%x", h.next)}
	pod.Status.PodIPs = [][]corev1.PodIP{{v4, v6}, {v4}, {v6}, {}}[min(h.random.IntN(10), 3)]
	if h.random.IntN(10) > 0 {
		pod.Status.PodIPs = []corev1.PodIP{v4, v6}
	}
	pod.Status.PodIP = ""
	if len(pod.Status.PodIPs) > 0 {
		pod.Status.PodIP = pod.Status.PodIPs[0].IP
	}
}

func (h *history) secondPort() {
	if len(h.svc.Spec.Ports) == 2 {
		h.svc.Spec.Ports = h.svc.Spec.Ports[:1]
		return
	}
	h.svc.Spec.Ports = append(slices.Clone(h.svc.Spec.Ports),
		corev1.ServicePort{Name: "dns", Port: 53, TargetPort: intstr.FromInt32(53), Protocol: corev1.ProtocolUDP})
}

func (h *history) families() {
	h.svc.Spec.IPFamilies = [][]corev1.IPFamily{
		{corev1.IPv4Protocol}, {corev1.IPv6Protocol},
		{corev1.IPv4Protocol, corev1.IPv6Protocol}, {corev1.IPv6Protocol, corev1.IPv4Protocol},
	}[h.random.IntN(4)]
}

func (h *history) distribution() {
	h.svc.Spec.TrafficDistribution = []*string{nil, ptr.To("PreferClose"), ptr.To("PreferSameNode")}[h.random.IntN(3)]
}

// tamper edits a stored slice as somebody else might.
func (h *history) tamper() {
	list := h.store.list()
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b *discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	slice := list[h.random.IntN(len(list))].DeepCopy()
	h.store.slices[slice.Name] = slice
	switch h.random.IntN(5) {
	case 0:
		delete(h.store.slices, slice.Name)
	case 1:
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: api.SlicesManager}
	case 2:
		slice.Endpoints = slices.Clone(slice.Endpoints[:len(slice.Endpoints)/2])
	case 3:
		slice.Endpoints = append(slices.Clone(slice.Endpoints), slice.Endpoints...)
	case 4:
		slice.Ports = nil
	}
}

// check plans, applies and compares.
func (h *history) check(t *testing.T) bool {
	t.Helper()
	pods := slices.Collect(maps.Values(h.pods)) // in random order, like a cache
	before := maps.Clone(h.store.slices)
	frozen := map[string]*discoveryv1.EndpointSlice{}
	for name, slice := range before {
		frozen[name] = slice.DeepCopy()
	}
	plan, remarks := Slices(h.svc, pods, sample.Nodes(), h.store.list())
	for name, slice := range before {
		if !reflect.DeepEqual(frozen[name], slice) {
			t.Errorf("the plan Changes the stored slice %s", name)
		}
	}
	if len(remarks.Waiting) > 0 {
		t.Errorf("waiting for %v", remarks.Waiting)
	}
	writes, allowed := len(plan.Create)+len(plan.Update)+len(plan.Delete), h.necessary(pods, before)
	if writes > allowed {
		t.Errorf("%d writes, %d would do:\n\t%s", writes, allowed, strings.Join(describe(plan), "\n\t"))
	}
	h.store.apply(t, plan)
	for _, slice := range h.store.slices {
		if len(slice.Endpoints) > sliceLimit {
			t.Errorf("%s has %d endpoints", slice.Name, len(slice.Endpoints))
		}
	}
	if again, _ := Slices(h.svc, pods, sample.Nodes(), h.store.list()); len(describe(again)) > 0 {
		t.Errorf("a second plan writes again:\n\t%s", strings.Join(describe(again), "\n\t"))
	}
	compare(t, "slices", expectSlices(h.svc, pods), gotSlices(h.store.list()))
	h.checkObject(t, pods)
	return !t.Failed()
}

// necessary is an upper bound for what a frugal plan writes: every slice in which something is
// wrong, as many slices as the new endpoints of each group fill, and the placeholders.
func (h *history) necessary(pods []*corev1.Pod, before map[string]*discoveryv1.EndpointSlice) int {
	groups, _ := deriveGroups(h.svc, pods, sample.Nodes())
	hint(h.svc, groups, sample.Nodes())
	t := serviceTemplate(h.svc)
	fresh := map[group]map[identity]*desiredEndpoint{}
	for g, want := range groups {
		fresh[g] = map[identity]*desiredEndpoint{}
		for i := range want.endpoints {
			fresh[g][identify(&want.endpoints[i].endpoint)] = &want.endpoints[i]
		}
	}
	writes := len(t.placeholders)
	for _, slice := range before {
		_, text := canonicalPorts(slice.Ports)
		wanted := fresh[group{family: slice.AddressType, ports: text}]
		wrong := !t.owns(slice) || wanted == nil || !maps.Equal(slice.Labels, t.labels)
		for i := range slice.Endpoints {
			ep := &slice.Endpoints[i]
			want := wanted[identify(ep)]
			if want == nil || !t.owns(slice) {
				wrong = true
				continue
			}
			wrong = wrong || !sameConditions(&ep.Conditions, &want.endpoint.Conditions) ||
				!reflect.DeepEqual(ep.TargetRef, want.endpoint.TargetRef) || !reflect.DeepEqual(ep.NodeName, want.endpoint.NodeName) ||
				!want.anyHints && !reflect.DeepEqual(ep.Hints, want.endpoint.Hints)
			delete(wanted, identify(ep))
		}
		if wrong {
			writes++
		}
	}
	for _, left := range fresh {
		writes += (len(left) + sliceLimit - 1) / sliceLimit
	}
	return writes
}

// checkObject does for the Endpoints object what check does for slices.
func (h *history) checkObject(t *testing.T, pods []*corev1.Pod) {
	t.Helper()
	if h.object != nil {
		frozen := h.object.DeepCopy()
		defer func(before *corev1.Endpoints) {
			if !reflect.DeepEqual(frozen, before) {
				t.Error("the plan Changes the stored Endpoints object")
			}
		}(h.object)
	}
	if want := Endpoints(h.svc, pods, h.object); want != nil {
		h.object = want
	}
	if again := Endpoints(h.svc, pods, h.object); again != nil {
		t.Error("a second plan writes the Endpoints object again")
	}
	compare(t, "endpoints", expectObject(h.svc, pods), gotObject(h.object))
}

// compare shows which lines are missing and which are too many.
func compare(t *testing.T, what string, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(want, got) {
		return
	}
	count := map[string]int{}
	for _, line := range want {
		count[line]++
	}
	for _, line := range got {
		count[line]--
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if n := count[line]; n != 0 {
			t.Errorf("%s: %+d %s", what, -n, line)
		}
	}
}
