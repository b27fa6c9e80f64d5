package registry

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	networking "k8s.io/kubernetes/pkg/apis/networking"
	convert "k8s.io/kubernetes/pkg/apis/networking/v1"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
)

func networkPolicies() *kind[*networkingv1.NetworkPolicy] {
	return adopt(foreign[*networkingv1.NetworkPolicy, *networking.NetworkPolicy]{
		strategy: networkpolicy.Strategy,
		in:       convert.Convert_v1_NetworkPolicy_To_networking_NetworkPolicy, out: convert.Convert_networking_NetworkPolicy_To_v1_NetworkPolicy,
	}, kind[*networkingv1.NetworkPolicy]{
		group: networkingv1.GroupName, plural: "networkpolicies", singular: "networkpolicy", short: []string{"netpol"},
		list: func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
	})
}
