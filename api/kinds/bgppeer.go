package kinds

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// BGPPeer is a router that nodes tell by BGP which addresses of Services they serve.
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which router it is, which nodes have a session with it, and what they tell it.
	Spec BGPPeerSpec `json:"spec"`
	// How the sessions are. Written by the control plane.
	// +optional
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerSpec says which router it is, which nodes have a session with it, and what they tell it.
type BGPPeerSpec struct {
	// The router's address, which nodes call.
	PeerAddress string `json:"peerAddress"`
	// The port on which the router is called. Default 179.
	// +optional
	PeerPort int32 `json:"peerPort,omitempty"`
	// The router's AS number.
	PeerASN int64 `json:"peerASN"`
	// The AS number of the nodes. The same as the router's makes the sessions internal ones.
	LocalASN int64 `json:"localASN"`
	// What identifies a node in BGP, written as an IPv4 address. For peers that select one node. Default: the node's IPv4 address; on a node
	// without one a number made of its name.
	// +optional
	RouterID string `json:"routerID,omitempty"`
	// The Secret of namespace kube-system whose key "password" is the TCP MD5 password of the sessions. Default: no password.
	// +optional
	PasswordSecret *PasswordSecret `json:"passwordSecret,omitempty"`
	// After how many seconds without a word from the router a session is over, 3 to 65535. Default 90.
	// +optional
	HoldTimeSeconds *int32 `json:"holdTimeSeconds,omitempty"`
	// How many hops away the router may be, 1 to 255. More than 1 is for a router of another AS that is not on the nodes' own link. Default 1.
	// +optional
	Multihop *int32 `json:"multihop,omitempty"`
	// For how many seconds the router is asked to keep a node's routes while the node's agent is away and the node's kernel goes on
	// forwarding, up to 4095; 0 turns graceful restart off. Default 120.
	// +optional
	GracefulRestartSeconds *int32 `json:"gracefulRestartSeconds,omitempty"`
	// The nodes that have a session with the router, by their labels. Default: all.
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`
	// The AddressPools whose addresses the router is told. Default: those of all pools, and externalIPs.
	// +optional
	// +listType=map
	// +listMapKey=name
	Pools []BGPPeerPool `json:"pools,omitempty"`
}

// PasswordSecret names a Secret of namespace kube-system.
type PasswordSecret struct {
	// The Secret's name.
	Name string `json:"name"`
	// The Secret's namespace, which is kube-system.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// BGPPeerPool is an AddressPool whose addresses a router is told, and what it is told of them.
type BGPPeerPool struct {
	// The pool's name.
	Name string `json:"name"`
	// Communities of its routes, as in 64512:100 or 64512:1:2.
	// +optional
	// +listType=atomic
	Communities []string `json:"communities,omitempty"`
	// How much its routes are preferred within the AS; routers of other ASes are not told. Default 100.
	// +optional
	LocalPreference *int64 `json:"localPreference,omitempty"`
}

// BGPPeerStatus is how a router's sessions are.
type BGPPeerStatus struct {
	// Established: whether all nodes that should have a session have one, and why not.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// How many nodes should have a session.
	// +optional
	Wanted int32 `json:"wanted"`
	// How many nodes have one.
	// +optional
	Established int32 `json:"established"`
	// The nodes, those without a session first; of many only the first 20.
	// +optional
	// +listType=map
	// +listMapKey=name
	Nodes []BGPPeerNode `json:"nodes,omitempty"`
}

// BGPPeerNode is how the session of one node is.
type BGPPeerNode struct {
	// The node's name.
	Name string `json:"name"`
	// Whether it has a session.
	Established bool `json:"established"`
	// How many routes the router is told.
	// +optional
	Routes int32 `json:"routes"`
	// Why there is no session.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Since when this is so.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
}

// PeerEstablished is the type of the condition that says whether all sessions with a router are established.
const PeerEstablished = "Established"

// BGPPeerList is a list of routers.
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BGPPeer `json:"items"`
}

// Selects reports whether nodes with these labels have a session with the router.
func (p *BGPPeer) Selects(node map[string]string) bool {
	if p.Spec.NodeSelector == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Spec.NodeSelector)
	return err == nil && selector.Matches(labels.Set(node))
}

// DeepCopy returns a copy that shares nothing.
func (p *BGPPeer) DeepCopy() *BGPPeer {
	if p == nil {
		return nil
	}
	c := &BGPPeer{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Spec: *p.Spec.DeepCopy(), Status: p.Status}
	c.Status.Conditions, c.Status.Nodes = slices.Clone(p.Status.Conditions), slices.Clone(p.Status.Nodes)
	return c
}

// DeepCopy returns a copy that shares nothing.
func (s *BGPPeerSpec) DeepCopy() *BGPPeerSpec {
	c := *s
	c.PasswordSecret, c.NodeSelector, c.Pools = copied(s.PasswordSecret), s.NodeSelector.DeepCopy(), slices.Clone(s.Pools)
	c.HoldTimeSeconds, c.Multihop, c.GracefulRestartSeconds = copied(s.HoldTimeSeconds), copied(s.Multihop), copied(s.GracefulRestartSeconds)
	for i := range c.Pools {
		c.Pools[i].Communities, c.Pools[i].LocalPreference = slices.Clone(s.Pools[i].Communities), copied(s.Pools[i].LocalPreference)
	}
	return &c
}

// copied is a pointer to a copy of a plain value.
func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// DeepCopyObject is part of runtime.Object.
func (p *BGPPeer) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject is part of runtime.Object.
func (l *BGPPeerList) DeepCopyObject() runtime.Object {
	c := &BGPPeerList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	if l.Items != nil {
		c.Items = make([]BGPPeer, len(l.Items))
	}
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopy()
	}
	return c
}

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeer) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeer" }

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeerSpec) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeerSpec" }

// OpenAPIModelName is the name of the type in the schema.
func (PasswordSecret) OpenAPIModelName() string { return "dev.fairlead.v1.PasswordSecret" }

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeerPool) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeerPool" }

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeerStatus) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeerStatus" }

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeerNode) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeerNode" }

// OpenAPIModelName is the name of the type in the schema.
func (BGPPeerList) OpenAPIModelName() string { return "dev.fairlead.v1.BGPPeerList" }
