package placement

import (
	"math"

	corev1 "k8s.io/api/core/v1"
)

// leastAllocated prefers the node with the most cpu and memory left, requests of nothing counted as well.
func leastAllocated(r *request, nodes []*Node, points []int64) bool {
	for i, n := range nodes {
		var sum, kinds int64
		for _, x := range [...]struct{ used, have int64 }{
			{n.cpu + r.cpu, n.allocatable[corev1.ResourceCPU]}, {n.mem + r.mem, n.allocatable[corev1.ResourceMemory]},
		} {
			if x.have == 0 {
				continue
			}
			kinds++
			if x.used <= x.have {
				sum += (x.have - x.used) * most / x.have
			}
		}
		points[i] = 0
		if kinds > 0 {
			points[i] = sum / kinds
		}
	}
	return true
}

// balanced prefers the node whose cpu and memory are used more evenly with the pod than without it.
func balanced(r *request, nodes []*Node, points []int64) bool {
	cpu, mem := r.requests[corev1.ResourceCPU], r.requests[corev1.ResourceMemory]
	if cpu == 0 && mem == 0 {
		return false
	}
	for i, n := range nodes {
		usedCPU, usedMem := n.used[corev1.ResourceCPU], n.used[corev1.ResourceMemory]
		points[i] = most/2 + (most/2+n.evenness(usedCPU+cpu, usedMem+mem)-n.evenness(usedCPU, usedMem))/2
	}
	return true
}

// evenness is 100 if the same share of cpu and memory is used, 50 if all of one and nothing of the other.
func (n *Node) evenness(cpu, mem int64) int64 {
	haveCPU, haveMem := n.allocatable[corev1.ResourceCPU], n.allocatable[corev1.ResourceMemory]
	if haveCPU == 0 || haveMem == 0 {
		return most
	}
	share := func(used, have int64) float64 { return min(float64(used)/float64(have), 1) }
	return int64((1 - math.Abs((share(cpu, haveCPU)-share(mem, haveMem))/2)) * most)
}

// What of an image counts: nothing below the first, no more than the second, for each image.
const (
	smallImage = 23 << 20
	largeImage = 1000 << 20
)

// images prefers the node that has the pod's images, the larger the better; less so those that few nodes have, lest all pods of an
// image go to the first node that has it.
func images(r *request, nodes []*Node, points []int64) bool {
	spec := &r.object.Spec
	names := make([]string, 0, len(spec.Containers)+len(spec.InitContainers))
	for i := range spec.InitContainers {
		names = append(names, imageName(spec.InitContainers[i].Image))
	}
	for i := range spec.Containers {
		names = append(names, imageName(spec.Containers[i].Image))
	}
	for i := range spec.Volumes {
		if spec.Volumes[i].Image != nil {
			names = append(names, imageName(spec.Volumes[i].Image.Reference))
		}
	}
	clear(points)
	some := false
	for _, name := range names {
		spread := 0
		for _, n := range r.cluster.Nodes {
			if _, has := n.images[name]; has {
				spread++
			}
		}
		for i, n := range nodes {
			points[i] += int64(float64(n.images[name]) * (float64(spread) / float64(len(r.cluster.Nodes))))
		}
		some = some || spread > 0
	}
	limit := int64(largeImage * len(names))
	for i := range points {
		points[i] = most * (min(max(points[i], smallImage), limit) - smallImage) / (limit - smallImage)
	}
	return some
}
