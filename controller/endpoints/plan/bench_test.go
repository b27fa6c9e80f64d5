package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// A Service with 1 000 pods of which one flips: what the plan costs, before any write.
func BenchmarkSlices(b *testing.B) {
	pods := sample.Pods(0, 1000)
	existing := stored(sample.Service(), pods)
	flipped := slices.Clone(pods)
	flipped[500] = sample.Pod(pods[500].Name, pods[500].Status.PodIP, sample.Unready)
	for name, pods := range map[string][]*corev1.Pod{"unchanged": pods, "one-flip": flipped} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Slices(sample.Service(), pods, sample.Nodes(), existing)
			}
		})
	}
}

func BenchmarkEndpoints(b *testing.B) {
	pods := sample.Pods(0, 1000)
	existing := Endpoints(sample.Service(), pods, nil)
	flipped := slices.Clone(pods)
	flipped[500] = sample.Pod(pods[500].Name, pods[500].Status.PodIP, sample.Unready)
	for name, pods := range map[string][]*corev1.Pod{"unchanged": pods, "one-flip": flipped} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Endpoints(sample.Service(), pods, existing)
			}
		})
	}
}

// stored returns the slices that a plan creates, as the API would return them.
func stored(svc *corev1.Service, pods []*corev1.Pod) []*discoveryv1.EndpointSlice {
	plan, _ := Slices(svc, pods, sample.Nodes(), nil)
	for i, slice := range plan.Create {
		slice.Name, slice.ResourceVersion = fmt.Sprint("web-", i), "1"
	}
	return plan.Create
}
