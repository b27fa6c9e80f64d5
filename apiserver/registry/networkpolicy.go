package registry

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/networking"
	convert "k8s.io/kubernetes/pkg/apis/networking/v1"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
)

// networkPolicies are kept. Upstream leaves it to a cluster's network whether anything comes of them, and says nothing; here nothing does,
// and whoever writes one is told.
func networkPolicies() *kind[*networkingv1.NetworkPolicy] {
	return warningToo(adopt(foreign[*networkingv1.NetworkPolicy, *networking.NetworkPolicy]{
		strategy: networkpolicy.Strategy,
		in:       convert.Convert_v1_NetworkPolicy_To_networking_NetworkPolicy, out: convert.Convert_networking_NetworkPolicy_To_v1_NetworkPolicy,
	}, kind[*networkingv1.NetworkPolicy]{
		group: networkingv1.GroupName, plural: "networkpolicies", singular: "networkpolicy", short: []string{"netpol"},
		list: func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
	}), func(_, _ *networkingv1.NetworkPolicy) []string {
		return []string{"nothing in this cluster enforces NetworkPolicies: the pods that this one selects can be reached as before"}
	})
}
