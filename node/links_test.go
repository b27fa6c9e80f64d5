package node

import (
	"testing"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
)

// TestAPodWhoseLinkWasTakenAwayGetsANewOne deletes the node's end of a running pod's link. The pod comes back with a link, and one
// beside it is not touched.
func TestAPodWhoseLinkWasTakenAwayGetsANewOne(t *testing.T) {
	b := newBench(t)
	address := func(name string) string {
		t.Helper()
		b.create(pod(name))
		return b.await(name, "running with an address", func(p *corev1.Pod) bool { return running(p) && p.Status.PodIP != "" }).Status.PodIP
	}
	victim, other := address("victim"), address("other")
	ip, err := netlink.ParseIPNet(victim + "/32")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: ip}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) != 1 {
		t.Fatalf("routes to %s: %v, %v", victim, routes, err)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	p := b.await("victim", "running with a link again", func(p *corev1.Pod) bool {
		return running(p) && p.Status.ContainerStatuses[0].RestartCount == 1 && routed([]string{p.Status.PodIP})
	})
	if p.Status.PodIP == "" {
		t.Error("it has no address")
	}
	p = b.await("other", "running", running)
	if p.Status.PodIP != other || p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod beside it: address %s, was %s, %d restarts", p.Status.PodIP, other, p.Status.ContainerStatuses[0].RestartCount)
	}
}
