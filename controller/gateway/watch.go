package gateway

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/gateway"
)

// caKey is the key of a ConfigMap that authorities are read from.
const caKey = "ca.crt"

// onlyCertificates drops of Secrets and ConfigMaps what cannot be a certificate: nothing else of them is kept here.
func onlyCertificates(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Secret:
		kept := &corev1.Secret{ObjectMeta: onlyName(&o.ObjectMeta), Type: o.Type, Data: map[string][]byte{}}
		for _, k := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if v, ok := o.Data[k]; ok {
				kept.Data[k] = v
			}
		}
		return kept, nil
	case *corev1.ConfigMap:
		kept := &corev1.ConfigMap{ObjectMeta: onlyName(&o.ObjectMeta)}
		if v, ok := o.Data[caKey]; ok {
			kept.Data = map[string]string{caKey: v}
		}
		return kept, nil
	}
	return obj, nil
}

func onlyName(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
}

func (c *Controller) serviceChanged(before, after *corev1.Service, _ bool) {
	if c.awake.Load() && (before == nil || after == nil || !equality.Semantic.DeepEqual(before.Spec, after.Spec) ||
		!maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) ||
		!equality.Semantic.DeepEqual(before.Status, after.Status)) {
		c.queue.Add(struct{}{})
	}
}

func (c *Controller) namespaceChanged(before, after *corev1.Namespace, _ bool) {
	if c.awake.Load() && (before == nil || after == nil || !maps.Equal(before.Labels, after.Labels)) {
		c.queue.Add(struct{}{})
	}
}

func (c *Controller) sliceChanged(before, after *discoveryv1.EndpointSlice, _ bool) {
	if !c.awake.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range kube.Versions(before, after) {
		if c.udp[types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}] || s.Labels[discoveryv1.LabelManagedBy] == manager {
			c.queue.Add(struct{}{})
			return
		}
	}
}

// view is what the caches hold now.
func (c *Controller) view() *gateway.View {
	v := &gateway.View{
		Namespace: func(name string) map[string]string {
			if n := kube.Cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: name}); n != nil {
				return n.Labels
			}
			return nil
		},
		Service:   func(n types.NamespacedName) *corev1.Service { return kube.Cached[corev1.Service](c.services, n) },
		Secret:    func(n types.NamespacedName) *corev1.Secret { return kube.Cached[corev1.Secret](c.secrets, n) },
		ConfigMap: func(n types.NamespacedName) *corev1.ConfigMap { return kube.Cached[corev1.ConfigMap](c.configMaps, n) },
	}
	c.objects.Fill(v)
	return v
}
