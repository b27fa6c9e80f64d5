package kinds

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fairlead.dev/fairlead/api"
)

// PodPeer is of a pod what nodes have to know of each other's pods: labels, addresses and ports. It can only be read; it is the pod's own
// object, without all else.
type PodPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Where the pod runs, and how it is reached.
	Spec PodPeerSpec `json:"spec"`
}

// PodPeerSpec says where a pod runs, and how it is reached.
type PodPeerSpec struct {
	// The node that the pod is bound to.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// Whether the pod has the node's network.
	// +optional
	HostNetwork bool `json:"hostNetwork,omitempty"`
	// The pod's phase.
	// +optional
	Phase string `json:"phase,omitempty"`
	// The pod's addresses.
	// +optional
	// +listType=atomic
	Addresses []string `json:"addresses,omitempty"`
	// The ports that containers declare and that have names.
	// +optional
	// +listType=atomic
	Ports []PodPeerPort `json:"ports,omitempty"`
}

// PodPeerPort is a port of a pod that has a name.
type PodPeerPort struct {
	// The port's name.
	Name string `json:"name"`
	// The port's protocol.
	Protocol string `json:"protocol"`
	// The port's number.
	Port int32 `json:"port"`
}

// PodPeerList is a list of PodPeers.
type PodPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// The PodPeers.
	Items []PodPeer `json:"items"`
}

// PeerOf is what others have to know of a pod. It shares memory with it.
func PeerOf(pod *corev1.Pod) *PodPeer {
	p := &PodPeer{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels},
		Spec:       PodPeerSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork, Phase: string(pod.Status.Phase)},
	}
	for _, ip := range pod.Status.PodIPs {
		p.Spec.Addresses = append(p.Spec.Addresses, ip.IP)
	}
	for c := range api.ServingContainers(&pod.Spec) {
		for i := range c.Ports {
			if c.Ports[i].Name != "" {
				p.Spec.Ports = append(p.Spec.Ports, PodPeerPort{c.Ports[i].Name, string(api.Protocol(c.Ports[i].Protocol)), c.Ports[i].ContainerPort})
			}
		}
	}
	return p
}

// Pod is a pod of which only that is known.
func (p *PodPeer) Pod() *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: p.ObjectMeta}
	pod.Spec.NodeName, pod.Spec.HostNetwork, pod.Status.Phase = p.Spec.NodeName, p.Spec.HostNetwork, corev1.PodPhase(p.Spec.Phase)
	for _, ip := range p.Spec.Addresses {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	if len(p.Spec.Ports) > 0 {
		pod.Spec.Containers = make([]corev1.Container, 1)
	}
	for _, port := range p.Spec.Ports {
		c := &pod.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: port.Name, Protocol: corev1.Protocol(port.Protocol), ContainerPort: port.Port})
	}
	return pod
}

// DeepCopy returns a copy that shares nothing.
func (p *PodPeer) DeepCopy() *PodPeer {
	c := *p
	p.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	c.Spec.Addresses, c.Spec.Ports = slices.Clone(p.Spec.Addresses), slices.Clone(p.Spec.Ports)
	return &c
}

// DeepCopyObject is part of runtime.Object.
func (p *PodPeer) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject is part of runtime.Object.
func (l *PodPeerList) DeepCopyObject() runtime.Object {
	c := *l
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	c.Items = make([]PodPeer, len(l.Items))
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopy()
	}
	return &c
}

// OpenAPIModelName names the schema of PodPeer.
func (PodPeer) OpenAPIModelName() string { return "dev.fairlead.v1.PodPeer" }

// OpenAPIModelName names the schema of PodPeerList.
func (PodPeerList) OpenAPIModelName() string { return "dev.fairlead.v1.PodPeerList" }

// OpenAPIModelName names the schema of PodPeerSpec.
func (PodPeerSpec) OpenAPIModelName() string { return "dev.fairlead.v1.PodPeerSpec" }

// OpenAPIModelName names the schema of PodPeerPort.
func (PodPeerPort) OpenAPIModelName() string { return "dev.fairlead.v1.PodPeerPort" }
