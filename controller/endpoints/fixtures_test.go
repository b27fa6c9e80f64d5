package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// epoch is when everything in the tests begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// webService is the Service most tests change a little: port 80, named http, to 8080.
func webService(changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "web", UID: "svc-1",
			CreationTimestamp: metav1.NewTime(epoch),
			Labels:            map[string]string{"team": "a"},
		},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeClusterIP,
			ClusterIP:  "10.96.0.1",
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector:   map[string]string{"app": "web"},
			Ports:      []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, change := range changes {
		change(svc)
	}
	return svc
}

// webPod is a ready pod of webService on node n1.
func webPod(name, ip string, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name),
			Labels: map[string]string{"app": "web"},
		},
		Spec: corev1.PodSpec{
			NodeName:   "n1",
			Containers: []corev1.Container{{Name: "c", Image: "web"}},
		},
		Status: corev1.PodStatus{
			Phase:  corev1.PodRunning,
			PodIP:  ip,
			PodIPs: []corev1.PodIP{{IP: ip}},
		},
	}
	setReady(pod, true, epoch)
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func setReady(pod *corev1.Pod, ready bool, since time.Time) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(since)},
	}
}

func unready(pod *corev1.Pod) { setReady(pod, false, epoch) }

func terminating(pod *corev1.Pod) { pod.DeletionTimestamp = ptr.To(metav1.NewTime(epoch)) }

func publishNotReady(svc *corev1.Service) { svc.Spec.PublishNotReadyAddresses = true }

func onNode(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.NodeName = name }
}

// webPods returns n ready pods, named and addressed in order from the first.
func webPods(first, n int) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := first; i < first+n; i++ {
		pods = append(pods, webPod(fmt.Sprintf("p%04d", i), fmt.Sprintf("10.244.%d.%d", i/250, i%250+1)))
	}
	return pods
}

// someNodes are n1 and n3 in zone a, n2 in zone b, and n0, in no zone.
func someNodes() map[string]*corev1.Node {
	nodes := map[string]*corev1.Node{}
	for name, zone := range map[string]string{"n0": "", "n1": "a", "n2": "b", "n3": "a"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if zone != "" {
			node.Labels = map[string]string{corev1.LabelTopologyZone: zone}
		}
		nodes[name] = node
	}
	return nodes
}

// store is the part of an API server that plans need: it names, numbers and keeps slices.
type store struct {
	slices map[string]*discoveryv1.EndpointSlice
	serial int
}

func (s *store) list() []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for _, slice := range s.slices {
		list = append(list, slice)
	}
	return list
}

// apply carries out a plan, and fails the test when a real API would refuse it.
func (s *store) apply(t *testing.T, plan changes) {
	t.Helper()
	if s.slices == nil {
		s.slices = map[string]*discoveryv1.EndpointSlice{}
	}
	for _, slice := range plan.create {
		s.serial++
		slice.Name = slice.GenerateName + strconv.Itoa(s.serial)
		slice.UID = types.UID("slice-" + strconv.Itoa(s.serial))
		slice.ResourceVersion = strconv.Itoa(s.serial)
		s.slices[slice.Name] = slice
	}
	for _, slice := range plan.update {
		old := s.slices[slice.Name]
		if old == nil || old.ResourceVersion != slice.ResourceVersion || old.UID != slice.UID {
			t.Fatalf("update of %s is not against the stored object", slice.Name)
		}
		if old == slice {
			t.Fatalf("the plan changes the stored object %s itself", slice.Name)
		}
		if old.AddressType != slice.AddressType {
			t.Fatalf("update of %s changes its address type, which is immutable", slice.Name)
		}
		s.serial++
		slice.ResourceVersion = strconv.Itoa(s.serial)
		s.slices[slice.Name] = slice
	}
	for _, slice := range plan.delete {
		if s.slices[slice.Name] == nil {
			t.Fatalf("delete of %s, which does not exist", slice.Name)
		}
		delete(s.slices, slice.Name)
	}
}

// sync plans and applies, and returns the plan as text.
func (s *store) sync(t *testing.T, svc *corev1.Service, pods []*corev1.Pod) []string {
	t.Helper()
	plan, _ := planSlices(svc, pods, someNodes(), s.list())
	lines := describe(plan)
	s.apply(t, plan)
	return lines
}

// describe prints a plan, a line per write: what, the slice, its family, ports and endpoints.
func describe(plan changes) []string {
	var lines []string
	for _, slice := range plan.create {
		lines = append(lines, "create "+describeSlice(slice))
	}
	for _, slice := range plan.update {
		lines = append(lines, "update "+slice.Name+" "+describeSlice(slice))
	}
	for _, slice := range plan.delete {
		lines = append(lines, "delete "+slice.Name)
	}
	slices.Sort(lines)
	return lines
}

func describeSlice(slice *discoveryv1.EndpointSlice) string {
	words := []string{string(slice.AddressType)}
	for _, p := range slice.Ports {
		words = append(words, fmt.Sprintf("%s:%d/%s", *p.Name, *p.Port, *p.Protocol))
	}
	words = append(words, "->")
	if len(slice.Endpoints) > 5 {
		return strings.Join(append(words, strconv.Itoa(len(slice.Endpoints)), "endpoints"), " ")
	}
	for i := range slice.Endpoints {
		words = append(words, describeEndpoint(&slice.Endpoints[i]))
	}
	return strings.Join(words, " ")
}

// describeEndpoint prints an address and its true conditions, as in 10.0.0.1(ready,serving).
func describeEndpoint(ep *discoveryv1.Endpoint) string {
	var conditions []string
	for _, c := range []struct {
		name  string
		value *bool
	}{{"ready", ep.Conditions.Ready}, {"serving", ep.Conditions.Serving}, {"terminating", ep.Conditions.Terminating}} {
		if ptr.Deref(c.value, false) {
			conditions = append(conditions, c.name)
		}
	}
	return strings.Join(ep.Addresses, "+") + "(" + strings.Join(conditions, ",") + ")"
}

// describeSubsets prints subsets, a line each: ready addresses, not ready ones, ports.
func describeSubsets(subsets []corev1.EndpointSubset) []string {
	var lines []string
	for _, s := range subsets {
		var words []string
		for _, a := range s.Addresses {
			words = append(words, a.IP)
		}
		for _, a := range s.NotReadyAddresses {
			words = append(words, "!"+a.IP)
		}
		words = append(words, ":")
		for _, p := range s.Ports {
			words = append(words, fmt.Sprintf("%s:%d/%s", p.Name, p.Port, p.Protocol))
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return lines
}

// equal compares lines of text.
func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
