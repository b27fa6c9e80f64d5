// Package sample is for tests only: the Service, the pods and the nodes that tests about endpoints begin with, and how they print
// what comes of them.
package sample

//lint:file-ignore SA1019 v1 Endpoints are what tests are about.

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Epoch is when everything in the tests begins.
var Epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Service is the Service most tests change a little: port 80, named http, to 8080.
func Service(changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "web", UID: "svc-1",
			CreationTimestamp: metav1.NewTime(Epoch),
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

// Pod is a ready pod of Service on node n1.
func Pod(name, ip string, changes ...func(*corev1.Pod)) *corev1.Pod {
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
	SetReady(pod, true, Epoch)
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// SetReady makes a pod ready, or not, since a moment.
func SetReady(pod *corev1.Pod, ready bool, since time.Time) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(since)},
	}
}

// Unready makes a pod not ready.
func Unready(pod *corev1.Pod) { SetReady(pod, false, Epoch) }

// Terminating deletes a pod that has not ended yet.
func Terminating(pod *corev1.Pod) { pod.DeletionTimestamp = ptr.To(metav1.NewTime(Epoch)) }

// PublishNotReady makes a Service publish its pods though they are not ready.
func PublishNotReady(svc *corev1.Service) { svc.Spec.PublishNotReadyAddresses = true }

// OnNode puts a pod on a node.
func OnNode(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.NodeName = name }
}

// Pods returns n ready pods, named and addressed in order from the first.
func Pods(first, n int) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := first; i < first+n; i++ {
		pods = append(pods, Pod(fmt.Sprintf("p%04d", i), fmt.Sprintf("10.244.%d.%d", i/250, i%250+1)))
	}
	return pods
}

// Nodes are n1 and n3 in zone a, n2 in zone b, and n0, in no zone.
func Nodes() map[string]*corev1.Node {
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

// SliceText prints a slice: family, ports and endpoints.
func SliceText(slice *discoveryv1.EndpointSlice) string {
	words := []string{string(slice.AddressType)}
	for _, p := range slice.Ports {
		words = append(words, fmt.Sprintf("%s:%d/%s", *p.Name, *p.Port, *p.Protocol))
	}
	words = append(words, "->")
	if len(slice.Endpoints) > 5 {
		return strings.Join(append(words, strconv.Itoa(len(slice.Endpoints)), "endpoints"), " ")
	}
	for i := range slice.Endpoints {
		words = append(words, EndpointText(&slice.Endpoints[i]))
	}
	return strings.Join(words, " ")
}

// EndpointText prints an address and its true conditions, as in 10.0.0.1(ready,serving).
func EndpointText(ep *discoveryv1.Endpoint) string {
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

// SubsetsText prints subsets, a line each: ready addresses, not ready ones, ports.
func SubsetsText(subsets []corev1.EndpointSubset) []string {
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

// HandWritten is an Endpoints object that a person wrote for the Service.
func HandWritten(subsets ...corev1.EndpointSubset) *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "ep-1"},
		Subsets:    subsets,
	}
}

// Subset builds a subset of addresses, a leading ! for not ready, and TCP ports named after their number.
func Subset(addresses []string, ports ...int32) corev1.EndpointSubset {
	var s corev1.EndpointSubset
	for _, a := range addresses {
		if a[0] == '!' {
			s.NotReadyAddresses = append(s.NotReadyAddresses, corev1.EndpointAddress{IP: a[1:]})
		} else {
			s.Addresses = append(s.Addresses, corev1.EndpointAddress{IP: a})
		}
	}
	for _, p := range ports {
		s.Ports = append(s.Ports, corev1.EndpointPort{Name: fmt.Sprint("p", p), Port: p, Protocol: corev1.ProtocolTCP})
	}
	return s
}
