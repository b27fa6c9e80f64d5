package registry

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func endpointSlices() *kind[*discoveryv1.EndpointSlice] {
	return &kind[*discoveryv1.EndpointSlice]{
		group: discoveryv1.GroupName, plural: "endpointslices", singular: "endpointslice",
		new:     func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		list:    func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *discoveryv1.EndpointSlice) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}
