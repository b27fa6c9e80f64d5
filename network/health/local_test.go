package health

import (
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/world"
)

func endpoint(ip, node string, ready, terminating bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{ip}, NodeName: ptr.To(node),
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(true), Terminating: ptr.To(terminating)}}
}

func slice(endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](80)}, {Name: ptr.To("https"), Port: ptr.To[int32](443)}},
	}
}

func with(s *discoveryv1.EndpointSlice, change func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	change(s)
	return s
}

func TestP90_ReadyLocalEndpointsCount(t *testing.T) {
	here, there := endpoint("10.244.1.2", "n1", true, false), endpoint("10.244.2.2", "n2", true, false)
	for name, c := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   int
	}{
		"none":                       {nil, 0},
		"here and elsewhere":         {[]*discoveryv1.EndpointSlice{slice(here, there)}, 1},
		"two ports are one endpoint": {[]*discoveryv1.EndpointSlice{slice(here)}, 1},
		"listed in two slices":       {[]*discoveryv1.EndpointSlice{slice(here), slice(here, endpoint("10.244.1.3", "n1", true, false))}, 2},
		"not ready":                  {[]*discoveryv1.EndpointSlice{slice(endpoint("10.244.1.2", "n1", false, false))}, 0},
		"unset ready means ready":    {[]*discoveryv1.EndpointSlice{slice(discoveryv1.Endpoint{Addresses: []string{"10.244.1.2"}, NodeName: ptr.To("n1")})}, 1},
		"no node":                    {[]*discoveryv1.EndpointSlice{slice(discoveryv1.Endpoint{Addresses: []string{"10.244.1.2"}})}, 0},
		"published regardless":       {[]*discoveryv1.EndpointSlice{slice(endpoint("10.244.1.2", "n1", true, true))}, 1},
		"the other family":           {[]*discoveryv1.EndpointSlice{with(slice(here), func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeIPv6 })}, 0},
		"no port to reach it":        {[]*discoveryv1.EndpointSlice{with(slice(here), func(s *discoveryv1.EndpointSlice) { s.Ports = nil })}, 0},
		"of a headless Service":      {[]*discoveryv1.EndpointSlice{with(slice(here), func(s *discoveryv1.EndpointSlice) { s.Labels[corev1.IsHeadlessService] = "" })}, 0},
		"another proxy's":            {[]*discoveryv1.EndpointSlice{with(slice(here), func(s *discoveryv1.EndpointSlice) { s.Labels["service.kubernetes.io/service-proxy-name"] = "x" })}, 0},
		"only the first address counts": {[]*discoveryv1.EndpointSlice{with(slice(here), func(s *discoveryv1.EndpointSlice) {
			s.Endpoints[0].Addresses = append(s.Endpoints[0].Addresses, "10.244.1.9")
		})}, 1},
	} {
		if got := LocalEndpoints(c.slices, "n1", false); got != c.want {
			t.Errorf("%s: %d endpoints, want %d", name, got, c.want)
		}
	}
	six := slice(endpoint("fd00::2", "n1", true, false), here)
	six.AddressType = discoveryv1.AddressTypeIPv6
	if got := LocalEndpoints([]*discoveryv1.EndpointSlice{six, slice(here)}, "n1", true); got != 2 {
		t.Errorf("IPv6: %d endpoints, want 2", got)
	}
}

func TestP91_TerminatingEndpointsDoNotCount(t *testing.T) {
	all := []*discoveryv1.EndpointSlice{slice(endpoint("10.244.1.2", "n1", false, true), endpoint("10.244.1.3", "n1", false, true))}
	if got := LocalEndpoints(all, "n1", false); got != 0 {
		t.Errorf("%d endpoints, want none: both are terminating", got)
	}
}

func TestS70_OnlyLoadBalancersWithLocalPolicyHaveAPort(t *testing.T) {
	local := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, HealthCheckNodePort: 32000,
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, IPFamilies: []corev1.IPFamily{corev1.IPv6Protocol}}}
	if got := Port(local); got != 32000 {
		t.Errorf("LoadBalancer, Local: port %d", got)
	}
	if Serves(local, false) || !Serves(local, true) || !Serves(&corev1.Service{}, false) {
		t.Error("families are mixed up")
	}
	cluster, nodePort, another := local.DeepCopy(), local.DeepCopy(), local.DeepCopy()
	another.Labels = map[string]string{api.LabelServiceProxyName: "x"}
	cluster.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	nodePort.Spec.Type = corev1.ServiceTypeNodePort
	for _, s := range []*corev1.Service{cluster, nodePort, another, nil} {
		if got := Port(s); got != 0 {
			t.Errorf("%v: port %d, want none", s, got)
		}
	}
}

func TestP93_FreshRules(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		lag  SyncLag
		want bool
	}{
		"never written":            {SyncLag{}, false},
		"never written, pending":   {SyncLag{Pending: now}, false},
		"written long ago":         {SyncLag{Updated: now.Add(-24 * time.Hour)}, true},
		"something is on its way":  {SyncLag{Updated: now.Add(-time.Hour), Pending: now.Add(-59 * time.Second)}, true},
		"something waits too long": {SyncLag{Updated: now.Add(-time.Hour), Pending: now.Add(-61 * time.Second)}, false},
	} {
		if got := c.lag.Healthy(now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestP93_ANodeThatIsGoingIsNotEligible(t *testing.T) {
	stays := &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "node.kubernetes.io/unschedulable"}}}}
	tainted := &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a"}, {Key: toBeDeleted, Effect: corev1.TaintEffectNoSchedule}}}}
	deleted := &corev1.Node{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: time.Now()}}}
	if !Eligible(stays) {
		t.Error("a cordoned node stays eligible")
	}
	if Eligible(tainted) || Eligible(deleted) || Eligible(nil) {
		t.Error("a node that is being removed must be drained")
	}
}

// A Gateway's Service has no endpoints of its own: on a node with an engine it has that one.
func TestP90_GatewaysAreServedWhereTheEngineIs(t *testing.T) {
	w := world.New()
	gateway := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gw", Annotations: map[string]string{api.AnnotationL7: api.L7Gateway}}}
	w.Put(gateway)
	for engine, want := range map[bool]int{true: 1, false: 0} {
		s := New(Config{NodeName: "n1", Engine: engine}, w, slog.New(slog.DiscardHandler))
		if got := s.endpointsOn(api.Name(gateway), false); got != want {
			t.Errorf("engine %v: %d endpoints, want %d", engine, got, want)
		}
	}
}
