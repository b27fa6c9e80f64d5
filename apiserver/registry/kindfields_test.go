package registry

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
)

// decided are the fields of specifications: those that do what they say; those by which a load balancer that is not ours knows
// what is for it; and those that are refused or told in a warning, of which TestKindWords, TestKindWarnings and TestS124_S133_Policies have rows.
var decided = []struct {
	spec                  any
	done, handedOn, other string
}{
	{corev1.ServiceSpec{}, "Ports Selector ClusterIP ClusterIPs Type SessionAffinity SessionAffinityConfig LoadBalancerSourceRanges ExternalName " +
		"ExternalTrafficPolicy HealthCheckNodePort PublishNotReadyAddresses IPFamilies IPFamilyPolicy AllocateLoadBalancerNodePorts " +
		"InternalTrafficPolicy TrafficDistribution LoadBalancerIP", "LoadBalancerClass", "ExternalIPs"},
	{corev1.ServicePort{}, "Name Protocol AppProtocol Port TargetPort NodePort", "", ""},
	{appsv1.DeploymentSpec{}, "Replicas Selector Template Strategy MinReadySeconds RevisionHistoryLimit Paused ProgressDeadlineSeconds", "", ""},
	{appsv1.DeploymentStrategy{}, "Type RollingUpdate", "", ""},
	{appsv1.RollingUpdateDeployment{}, "MaxUnavailable MaxSurge", "", ""},
	{appsv1.ReplicaSetSpec{}, "Replicas MinReadySeconds Selector Template", "", ""},
	{corev1.NodeSpec{}, "PodCIDR PodCIDRs ProviderID Unschedulable Taints", "", "ConfigSource DoNotUseExternalID PodPreemptionPolicy"},
	{coordinationv1.LeaseSpec{}, "HolderIdentity LeaseDurationSeconds AcquireTime RenewTime LeaseTransitions", "", "Strategy PreferredHolder"},
}

// TestKindFields: every field of these specifications is decided about, and one that is new fails here until it is.
func TestKindFields(t *testing.T) {
	for _, d := range decided {
		typ := reflect.TypeOf(d.spec)
		var has []string
		for i := range typ.NumField() {
			has = append(has, typ.Field(i).Name)
		}
		known := strings.Fields(d.done + " " + d.handedOn + " " + d.other)
		for _, name := range has {
			if !slices.Contains(known, name) {
				t.Errorf("%s.%s is neither carried out nor refused", typ.Name(), name)
			}
		}
		for _, name := range known {
			if !slices.Contains(has, name) {
				t.Errorf("%s has no %s", typ.Name(), name)
			}
		}
	}
}
