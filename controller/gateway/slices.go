package gateway

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/gateway"
)

// syncSlices makes the slices of the UDP ports of all Gateways: copies of those of the Services that their routes lead to, so that
// the kernel sends the datagrams there.
func (c *Controller) syncSlices(ctx context.Context, all []*gateway.Gateway) error {
	want, services := map[types.NamespacedName]*discoveryv1.EndpointSlice{}, map[types.NamespacedName]bool{}
	for _, g := range all {
		for _, u := range g.UDP {
			for _, b := range u.Backends {
				services[b.Service] = true
			}
		}
	}
	c.mu.Lock()
	c.udp = services
	c.mu.Unlock()
	have, sources := map[types.NamespacedName]*discoveryv1.EndpointSlice{}, map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for _, obj := range c.slices.GetStore().List() {
		s := obj.(*discoveryv1.EndpointSlice)
		if s.Labels[discoveryv1.LabelManagedBy] == manager {
			have[api.Name(s)] = s
		} else if of := api.ServiceOf(s); services[of] {
			sources[of] = append(sources[of], s)
		}
	}
	for _, g := range all {
		name := gateway.ServiceName(g.Object)
		service := kube.Cached[corev1.Service](c.services, name)
		if service == nil || !gateway.Owns(g.Object, service) {
			continue
		}
		for _, u := range g.UDP {
			for _, s := range copies(service, u, sources, func(n types.NamespacedName) *corev1.Service { return kube.Cached[corev1.Service](c.services, n) }) {
				want[api.Name(s)] = s
			}
		}
	}
	for name, s := range want {
		if err := c.putSlice(ctx, have[name], s); err != nil {
			return fmt.Errorf("endpoint slice %s: %w", name, err)
		}
	}
	for name, s := range have {
		if want[name] == nil {
			err := c.client.DiscoveryV1().EndpointSlices(name.Namespace).Delete(ctx, name.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("endpoint slice %s: %w", name, err)
			}
		}
	}
	return nil
}

func (c *Controller) putSlice(ctx context.Context, have, want *discoveryv1.EndpointSlice) error {
	client := c.client.DiscoveryV1().EndpointSlices(want.Namespace)
	if have == nil {
		_, err := client.Create(ctx, want, metav1.CreateOptions{})
		return err
	}
	if same(have.Endpoints, want.Endpoints) && same(have.Ports, want.Ports) && same(have.Annotations, want.Annotations) || !c.written.shown(have) {
		return nil
	}
	next := have.DeepCopy()
	next.Endpoints, next.Ports, next.Annotations = want.Endpoints, want.Ports, want.Annotations
	answer, err := client.Update(ctx, next, metav1.UpdateOptions{})
	if err == nil {
		c.written.note(answer)
	}
	return err
}

// backend is a port of a Service that a UDP port of a Gateway leads to.
type backend struct {
	types.NamespacedName
	port int32
}

// weigh sums up the weights of those backends of a port that there are.
func weigh(u *gateway.UDP, find func(types.NamespacedName) *corev1.Service) map[backend]uint64 {
	weights := map[backend]uint64{}
	for _, b := range u.Backends {
		if b.Broken == "" && b.Weight > 0 && udpPort(find(b.Service), b.Port) != nil {
			weights[backend{b.Service, b.Port}] += uint64(b.Weight)
		}
	}
	return weights
}

// annotations say what a backend gets of the datagrams, if there are others: all slices of it together.
func (b backend) annotations(weights map[backend]uint64) map[string]string {
	if len(weights) < 2 {
		return nil
	}
	return map[string]string{api.AnnotationWeight: strconv.FormatUint(min(weights[b], api.MaxWeight), 10), api.AnnotationWeightGroup: fmt.Sprint(b.NamespacedName, ":", b.port)}
}

// copies are the slices of a UDP port of a Gateway's Service.
func copies(service *corev1.Service, u *gateway.UDP, sources map[types.NamespacedName][]*discoveryv1.EndpointSlice, find func(types.NamespacedName) *corev1.Service) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	name, udp := "udp-"+strconv.Itoa(int(u.Port)), corev1.ProtocolUDP
	weights := weigh(u, find)
	for b := range weights {
		port := udpPort(find(b.NamespacedName), b.port)
		for _, source := range sources[b.NamespacedName] {
			for _, p := range source.Ports {
				if p.Port == nil || p.Protocol == nil || *p.Protocol != udp || p.Name != nil && *p.Name != port.Name || p.Name == nil && port.Name != "" {
					continue
				}
				all = append(all, &discoveryv1.EndpointSlice{
					ObjectMeta: metav1.ObjectMeta{
						Namespace: service.Namespace, Name: service.Name + "-" + sum(name, source.Namespace, source.Name, port.Name),
						Annotations:     b.annotations(weights),
						Labels:          map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: manager},
						OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID}},
					},
					AddressType: source.AddressType, Endpoints: source.Endpoints,
					Ports: []discoveryv1.EndpointPort{{Name: &name, Protocol: &udp, Port: p.Port}},
				})
			}
		}
	}
	return all
}

func udpPort(s *corev1.Service, number int32) *corev1.ServicePort {
	if s == nil {
		return nil
	}
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.Port == number && p.Protocol == corev1.ProtocolUDP {
			return p
		}
	}
	return nil
}

func sum(parts ...string) string {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p + "\x00")) // never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}
