// Package kinds are the kinds of Fairlead's own API group, fairlead.dev/v1, as clients write them. A new one is a file here, a line
// in AddToScheme, and a row in apiserver/registry.
//
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=dev.fairlead.v1
// +groupName=fairlead.dev
package kinds

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the group of the kinds.
const GroupName = "fairlead.dev"

// SchemeGroupVersion is the version they are written in.
var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1"}

// AddToScheme makes the kinds known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion, &AddressPool{}, &AddressPoolList{}, &BGPPeer{}, &BGPPeerList{}, &PodPeer{}, &PodPeerList{})
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
