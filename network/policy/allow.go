package policy

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// Objects are what policies are about.
type Objects struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
}

// Allow says of a packet that begins a connection whether the policies let it pass: a second opinion, straight from upstream's
// documentation, packet by packet, as simple as it can be. Only pods of the given node are looked after; with none, all are.
func (o Objects) Allow(p Packet, node string) bool {
	from, to := o.pod(p.Source), o.pod(p.Dest)
	if from != nil && from == to || p.Source == p.Dest {
		return true
	}
	return o.allowed(Egress, from, p.Dest, to, p, node) && o.allowed(Ingress, to, p.Source, from, p, node)
}

// pod is who has an address, nil if it is no pod's.
func (o Objects) pod(a netip.Addr) *corev1.Pod {
	for _, pod := range o.Pods {
		if slices.Contains(addresses(pod), a) {
			return pod
		}
	}
	return nil
}

// addresses are those under which policies know a pod.
func addresses(pod *corev1.Pod) []netip.Addr {
	if pod.Spec.HostNetwork || api.Finished(pod) {
		return nil
	}
	var all []netip.Addr
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		for _, text := range api.PodAddresses(pod, family) {
			if a, ok := api.ParseAddr(text); ok {
				all = append(all, a)
			}
		}
	}
	return all
}

// allowed says whether the policies that select a pod let it have a connection with the other side.
func (o Objects) allowed(d Direction, pod *corev1.Pod, other netip.Addr, otherPod *corev1.Pod, p Packet, node string) bool {
	if pod == nil || node != "" && pod.Spec.NodeName != node {
		return true
	}
	isolated := false
	for _, policy := range o.Policies {
		if policy.Namespace != pod.Namespace || !matches(&policy.Spec.PodSelector, pod.Labels) || !slices.Contains(directionsOf(policy), d) {
			continue
		}
		isolated = true
		if d == Ingress {
			for _, r := range policy.Spec.Ingress {
				if o.anyPeer(policy.Namespace, r.From, other, otherPod) && anyPort(r.Ports, pod, p) {
					return true
				}
			}
			continue
		}
		for _, r := range policy.Spec.Egress {
			if o.anyPeer(policy.Namespace, r.To, other, otherPod) && anyPort(r.Ports, otherPod, p) {
				return true
			}
		}
	}
	return !isolated
}

func (o Objects) anyPeer(namespace string, peers []networkingv1.NetworkPolicyPeer, other netip.Addr, pod *corev1.Pod) bool {
	if len(peers) == 0 {
		return true
	}
	return slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool {
		if b := peer.IPBlock; b != nil {
			return contains(b.CIDR, other) && !slices.ContainsFunc(b.Except, func(x string) bool { return contains(x, other) })
		}
		if pod == nil || peer.PodSelector != nil && !matches(peer.PodSelector, pod.Labels) {
			return false
		}
		if peer.NamespaceSelector == nil {
			return pod.Namespace == namespace
		}
		return slices.ContainsFunc(o.Namespaces, func(n *corev1.Namespace) bool {
			return n.Name == pod.Namespace && matches(peer.NamespaceSelector, n.Labels)
		})
	})
}

// anyPort reports whether a packet goes to one of the ports; pod is whose ports are named, nil if it is no pod.
func anyPort(ports []networkingv1.NetworkPolicyPort, pod *corev1.Pod, p Packet) bool {
	if len(ports) == 0 {
		return true
	}
	return slices.ContainsFunc(ports, func(port networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		if lb.ProtocolOf(protocol) != p.Protocol {
			return false
		}
		if port.Port == nil {
			return true
		}
		if port.Port.Type == intstr.String {
			if pod == nil {
				return false
			}
			called, ok := api.TargetPort(pod, &corev1.ServicePort{Protocol: protocol, TargetPort: *port.Port})
			return ok && uint16(called) == p.Port
		}
		last := port.Port.IntVal
		if port.EndPort != nil {
			last = *port.EndPort
		}
		return uint16(port.Port.IntVal) <= p.Port && p.Port <= uint16(last)
	})
}

func matches(selector *metav1.LabelSelector, its map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(its))
}

func contains(prefix string, a netip.Addr) bool {
	p, ok := api.ParsePrefix(prefix)
	return ok && p.Contains(a)
}
