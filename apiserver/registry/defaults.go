package registry

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apps "k8s.io/kubernetes/pkg/apis/apps/v1"
)

// addDefaults registers the function that fills in the unset fields of each kind of our own, in place of upstream's. Defaults apply
// on every decode, of a request as of a stored object, so an object always has them. A StatefulSet has upstream's, and what upstream
// adds as it converts.
func addDefaults(s *runtime.Scheme) {
	addDefault(s, defaultService)
	addDefault(s, defaultEndpoints)
	addDefault(s, defaultEndpointSlice)
	addDefault(s, defaultPool)
	addDefault(s, defaultPeer)
	addDefault(s, defaultStatefulSet)

	// A list in one request, as a protobuf client may send it, is defaulted item by item.
	addDefault(s, func(list *corev1.ServiceList) { each(list.Items, defaultService) })
	addDefault(s, func(list *appsv1.StatefulSetList) { each(list.Items, defaultStatefulSet) })
	addDefault(s, func(list *corev1.EndpointsList) { each(list.Items, defaultEndpoints) })
	addDefault(s, func(list *discoveryv1.EndpointSliceList) { each(list.Items, defaultEndpointSlice) })
}

// defaultStatefulSet names the kind of the claims, which protobuf leaves out.
func defaultStatefulSet(set *appsv1.StatefulSet) {
	apps.SetObjectDefaults_StatefulSet(set)
	for i := range set.Spec.VolumeClaimTemplates {
		set.Spec.VolumeClaimTemplates[i].TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	}
}

func addDefault[T any, P interface {
	*T
	runtime.Object
}](s *runtime.Scheme, set func(P)) {
	s.AddTypeDefaultingFunc(P(new(T)), func(obj any) { set(obj.(P)) })
}

func each[T any](items []T, set func(*T)) {
	for i := range items {
		set(&items[i])
	}
}

// setDefault gives the field a value when it has none.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// setPointer gives the optional field a value when it has none.
func setPointer[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
