package kinds

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AddressPool is a set of addresses that Services of type LoadBalancer are given, and how the world outside of the cluster is told
// where they are.
type AddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which addresses there are, for whom, and how they are announced.
	Spec AddressPoolSpec `json:"spec"`
	// What has become of them. Written by the control plane.
	// +optional
	Status AddressPoolStatus `json:"status,omitempty"`
}

// AddressPoolSpec says which addresses there are, for whom, and how they are announced.
type AddressPoolSpec struct {
	// Networks such as 192.0.2.0/28, or ranges such as 192.0.2.10-192.0.2.20, of either family. A network's own address and
	// the broadcast address of an IPv4 network are not given to anybody.
	// +listType=atomic
	Addresses []string `json:"addresses"`
	// Whether Services that ask for no address get one of these; otherwise only those do that name one. Default true.
	// +optional
	AutoAssign *bool `json:"autoAssign,omitempty"`
	// Pools with a higher priority are tried first; of equal ones in the order of their names. Default 0.
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// The Services that may have these addresses, by their labels. Default: all.
	// +optional
	ServiceSelector *metav1.LabelSelector `json:"serviceSelector,omitempty"`
	// The namespaces whose Services may have these addresses, by their labels. Default: all.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// How others learn where the addresses are: L2 (ARP and NDP, from one node each), BGP, both, or None alone for nobody. Default: L2 and BGP.
	// +optional
	// +listType=atomic
	Announce []Announcement `json:"announce,omitempty"`
}

// Announcement is a way to tell others where an address is.
type Announcement string

// The ways to announce an address.
const (
	AnnounceL2   Announcement = "L2"   // by ARP and NDP, from one node for each address
	AnnounceBGP  Announcement = "BGP"  // to the routers that BGPPeers name
	AnnounceNone Announcement = "None" // to nobody: the addresses are reached from nodes and pods, and by routes that others set
)

// AddressPoolStatus is what has become of a pool's addresses.
type AddressPoolStatus struct {
	// How many addresses Services have.
	Assigned int64 `json:"assigned"`
	// How many addresses are left.
	Free int64 `json:"free"`
	// Usable: whether addresses are given from this pool, and why not.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PoolUsable is the type of the condition that says whether addresses are given from a pool.
const PoolUsable = "Usable"

// AddressPoolList is a list of pools.
type AddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AddressPool `json:"items"`
}

// Auto reports whether Services that ask for no address get one of the pool's.
func (p *AddressPool) Auto() bool { return p.Spec.AutoAssign == nil || *p.Spec.AutoAssign }

// Announces reports whether the pool's addresses are announced in a way.
func (p *AddressPool) Announces(by Announcement) bool {
	return len(p.Spec.Announce) == 0 || slices.Contains(p.Spec.Announce, by)
}

// DeepCopy returns a copy that shares nothing.
func (p *AddressPool) DeepCopy() *AddressPool {
	if p == nil {
		return nil
	}
	c := &AddressPool{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Spec: *p.Spec.DeepCopy(), Status: p.Status}
	c.Status.Conditions = slices.Clone(p.Status.Conditions)
	return c
}

// DeepCopy returns a copy that shares nothing.
func (s *AddressPoolSpec) DeepCopy() *AddressPoolSpec {
	c := *s
	c.Addresses, c.Announce = slices.Clone(s.Addresses), slices.Clone(s.Announce)
	c.ServiceSelector, c.NamespaceSelector = s.ServiceSelector.DeepCopy(), s.NamespaceSelector.DeepCopy()
	if s.AutoAssign != nil {
		auto := *s.AutoAssign
		c.AutoAssign = &auto
	}
	return &c
}

// DeepCopyObject is part of runtime.Object.
func (p *AddressPool) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject is part of runtime.Object.
func (l *AddressPoolList) DeepCopyObject() runtime.Object {
	c := &AddressPoolList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	if l.Items != nil {
		c.Items = make([]AddressPool, len(l.Items))
	}
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopy()
	}
	return c
}

// OpenAPIModelName is the name of the type in the schema.
func (AddressPool) OpenAPIModelName() string { return "dev.fairlead.v1.AddressPool" }

// OpenAPIModelName is the name of the type in the schema.
func (AddressPoolSpec) OpenAPIModelName() string { return "dev.fairlead.v1.AddressPoolSpec" }

// OpenAPIModelName is the name of the type in the schema.
func (AddressPoolStatus) OpenAPIModelName() string { return "dev.fairlead.v1.AddressPoolStatus" }

// OpenAPIModelName is the name of the type in the schema.
func (AddressPoolList) OpenAPIModelName() string { return "dev.fairlead.v1.AddressPoolList" }
