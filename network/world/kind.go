package world

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Kind is a kind of objects that a World can hold.
type Kind uint8

// The kinds of objects that a World can hold. One more is a name here, a row in register, and what its readers ask for.
const (
	Services Kind = iota
	EndpointSlices
	Namespaces
	Nodes
	Ingresses
	IngressClasses
	AddressPools
	BGPPeers
	ServiceCIDRs    // only when asked for, see Beyond
	NetworkPolicies // this and Pods only when asked for, see Follow
	Pods
	kinds // how many there are
)

// String is the kind as the API spells it in paths.
func (k Kind) String() string {
	return [kinds]string{"services", "endpointslices", "namespaces", "nodes", "ingresses", "ingressclasses", "addresspools", "bgppeers", "servicecidrs", "networkpolicies", "pods"}[k]
}

// row is what makes a kind: how its objects are read, and what of them matters to readers.
type row[T object] struct {
	kind  Kind
	empty T
	read  func(kubernetes.Interface) *cache.ListWatch
	// trim drops what nobody here reads from an object that nobody else has; nil: nothing more than of all kinds.
	trim func(T)
	// owner is the object of the kind owns that an object belongs to, without a name if there is none. It is filed under it,
	// and what becomes of it is told as a change of its owner. nil: each object stands for itself.
	owner func(T) types.NamespacedName
	owns  Kind
	// seen is called with every version of an object, with the World's mu held; nil: nothing is.
	seen func(T)
	// alike reports that a new version of an object is as good as the old one to every reader; nil: none is.
	alike func(before, after T) bool
}

// register gives a World its tables.
func (w *World) register() {
	w.services = newTable(w, row[*corev1.Service]{
		kind: Services, empty: &corev1.Service{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return reading(c.CoreV1().Services(metav1.NamespaceAll))
		},
		seen: w.lookBeyond,
	})
	w.slices = newTable(w, row[*discoveryv1.EndpointSlice]{
		kind: EndpointSlices, empty: &discoveryv1.EndpointSlice{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return reading(c.DiscoveryV1().EndpointSlices(metav1.NamespaceAll))
		},
		owns: Services,
		owner: func(s *discoveryv1.EndpointSlice) types.NamespacedName {
			return types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		},
	})
	w.namespaces = newTable(w, row[*corev1.Namespace]{
		kind: Namespaces, empty: &corev1.Namespace{},
		read: func(c kubernetes.Interface) *cache.ListWatch { return reading(c.CoreV1().Namespaces()) },
		trim: func(n *corev1.Namespace) {
			*n = corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion, Labels: n.Labels}}
		},
		alike: func(before, after *corev1.Namespace) bool { return maps.Equal(before.Labels, after.Labels) },
	})
	w.nodes = newTable(w, row[*corev1.Node]{
		kind: Nodes, empty: &corev1.Node{},
		read: func(c kubernetes.Interface) *cache.ListWatch { return reading(c.CoreV1().Nodes()) },
		trim: func(n *corev1.Node) { n.Status.Images = nil },
		// Heartbeats and conditions arrive every few seconds from every node.
		alike: func(before, after *corev1.Node) bool {
			return equality.Semantic.DeepEqual(before.Labels, after.Labels) &&
				equality.Semantic.DeepEqual(before.Spec, after.Spec) &&
				equality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses)
		},
	})
	w.ingresses = newTable(w, row[*networkingv1.Ingress]{
		kind: Ingresses, empty: &networkingv1.Ingress{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return reading(c.NetworkingV1().Ingresses(metav1.NamespaceAll))
		},
		trim: func(ing *networkingv1.Ingress) { ing.Status = networkingv1.IngressStatus{} },
		// The status follows what nodes do.
		alike: func(before, after *networkingv1.Ingress) bool {
			return before.UID == after.UID && equality.Semantic.DeepEqual(before.Annotations, after.Annotations) &&
				equality.Semantic.DeepEqual(before.Spec, after.Spec)
		},
	})
	w.classes = newTable(w, row[*networkingv1.IngressClass]{
		kind: IngressClasses, empty: &networkingv1.IngressClass{},
		read: func(c kubernetes.Interface) *cache.ListWatch { return reading(c.NetworkingV1().IngressClasses()) },
	})
	w.registerOwn()
	w.registerRanges()
	w.registerPolicies()
	w.tables = [kinds]anyTable{w.services, w.slices, w.namespaces, w.nodes, w.ingresses, w.classes, w.pools, w.peers, w.ranges, w.policies, w.pods}
}

// Revisions are how far kinds are known: the resource version of the newest change of each. Zero is nothing.
type Revisions [kinds]uint64

// Cover reports whether nothing up to other is missing.
func (r Revisions) Cover(other Revisions) bool {
	for k := range r {
		if r[k] < other[k] {
			return false
		}
	}
	return true
}

// set notes the version of a kind's newest change, and reports whether that is new. Objects that come from no API
// server have none.
func (r *Revisions) set(k Kind, version string) bool {
	v, err := strconv.ParseUint(version, 10, 64)
	if err != nil || v == r[k] {
		return false
	}
	r[k] = v
	return true
}

// object is what every kind's objects are.
type object interface {
	runtime.Object
	metav1.Object
}
