package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
	"fairlead.dev/fairlead/network/lb"
)

// The tests of this file look at slices as the proxy of node n1 in zone a does, which decides what they are worth.

// backends returns where the proxy sends connections to port 80 of a Service, with + for an endpoint that terminates.
func backends(t *testing.T, svc *corev1.Service, slices []*discoveryv1.EndpointSlice) string {
	t.Helper()
	rows := lb.Derive(svc, slices, lb.Node{Name: "n1", Zone: "a"})
	if len(rows.Sets) != 1 {
		t.Fatalf("%d sets, want 1", len(rows.Sets))
	}
	var words []string
	for _, b := range rows.Sets[0].Backends {
		word := b.Addr.String()
		if b.Terminating {
			word += "+"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// slice of sample.Service, by hand.
func handSlice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints}
	s.Namespace, s.Name, s.Labels = "default", name, map[string]string{discoveryv1.LabelServiceName: "web"}
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)}}
	return s
}

func endpoint(ip string, ready, serving, terminating *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving, Terminating: terminating}}
}

func TestE84_WhatConditionsMeanThatAreNotSet(t *testing.T) {
	yes, no := ptr.To(true), ptr.To(false)
	for _, c := range []struct {
		ready, serving, terminating *bool
		want                        string
	}{
		{nil, nil, nil, "10.0.0.1:8080"},
		{yes, nil, nil, "10.0.0.1:8080"},
		{no, nil, nil, ""},
		{nil, no, nil, "10.0.0.1:8080"}, // ready decides
		{no, yes, nil, ""},              // it does not terminate, so serving has no say
		{no, yes, yes, "10.0.0.1:8080+"},
	} {
		slice := handSlice("web-1", endpoint("10.0.0.1", c.ready, c.serving, c.terminating))
		if got := backends(t, sample.Service(), []*discoveryv1.EndpointSlice{slice}); got != c.want {
			t.Errorf("%s: %q, want %q", sample.EndpointText(&slice.Endpoints[0]), got, c.want)
		}
	}
	// What the mirror writes, which leaves two of them open (rule E104).
	plan, _ := Mirror(sample.HandWritten(corev1.EndpointSubset{
		Addresses:         []corev1.EndpointAddress{{IP: "10.0.0.1"}},
		NotReadyAddresses: []corev1.EndpointAddress{{IP: "10.0.0.2"}},
		Ports:             []corev1.EndpointPort{{Name: "http", Port: 8080, Protocol: corev1.ProtocolTCP}},
	}), external(), nil)
	if got := backends(t, external(), plan.Create); got != "10.0.0.1:8080" {
		t.Errorf("of a mirror: %q", got)
	}
}

// All slices that name the Service count, whoever keeps them, and an endpoint that is in two of them for the moment of a
// move is one endpoint.
func TestE85_SlicesAreJoined(t *testing.T) {
	var s store
	pods := sample.Pods(0, 150)
	s.sync(t, sample.Service(), pods)
	one := backends(t, sample.Service(), s.list())
	if n := len(strings.Fields(one)); n != 150 {
		t.Fatalf("%d backends, want 150", n)
	}
	again := s.slices["web-2"].DeepCopy()
	again.Name = "web-9"
	if got := backends(t, sample.Service(), append(s.list(), again)); got != one {
		t.Errorf("a slice that is there twice: %d backends", len(strings.Fields(got)))
	}
	staff := handSlice("staff", endpoint("10.9.9.9", nil, nil, nil))
	if got := strings.Fields(backends(t, sample.Service(), append(s.list(), staff))); len(got) != 151 || !slices.Contains(got, "10.9.9.9:8080") {
		t.Errorf("with a slice by hand: %d backends", len(got))
	}
	// One copy says that it terminates, the other, which is newer or older, that it is ready.
	going := handSlice("web-10", endpoint("10.244.0.1", ptr.To(false), ptr.To(true), ptr.To(true)))
	if got := backends(t, sample.Service(), append(s.list(), going)); got != one {
		t.Errorf("a terminating copy hides the ready one")
	}
}

func TestE95_HintsCountOnlyWhenAllHaveThem(t *testing.T) {
	pods := []*corev1.Pod{sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2", sample.OnNode("n2")), sample.Pod("c", "10.0.0.3", sample.OnNode("n0"))}
	for _, c := range []struct {
		name string
		pods []*corev1.Pod
		want string
	}{
		{"all have hints", pods[:2], "10.0.0.1:8080"},
		{"a ready one has none", pods, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080"},
		{"one has none, but it is not ready", []*corev1.Pod{pods[0], pods[1], sample.Pod("c", "10.0.0.3", sample.OnNode("n0"), sample.Unready)}, "10.0.0.1:8080"},
		{"none is for this zone", pods[1:2], "10.0.0.2:8080"},
	} {
		svc := sample.Service(prefer("PreferSameZone"))
		plan, _ := Slices(svc, c.pods, sample.Nodes(), nil)
		if got := backends(t, svc, plan.Create); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// Mode Auto gives hints to all or to none, so the proxy never sees a part of them.
	for _, zones := range []string{"ab", "aabb", "aaab", "a"} {
		cpus := map[string]int{"a": 4, "b": 4}
		if zones == "ab" {
			cpus["a"] = 50 // which two endpoints cannot be shared by
		}
		plan, _ := Slices(sample.Service(auto), spread(zones), zoneNodes(cpus), nil)
		with := 0
		for _, ep := range plan.Create[0].Endpoints {
			if ep.Hints != nil {
				with++
			}
		}
		if with != 0 && with != len(zones) {
			t.Errorf("pods in %s: %s have hints", zones, fmt.Sprint(with))
		}
	}
}
