package api

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// IngressController is what an IngressClass names in spec.controller for its Ingresses to be served by this program.
const IngressController = "fairlead.dev/ingress"

// IngressClass is the name of the class that a cluster has from its first start.
const IngressClass = "fairlead"

// AnnotationIngressClass, on an Ingress, names its class as it was done before there was a field for it.
const AnnotationIngressClass = "kubernetes.io/ingress.class"

// ClassOf is the name of the IngressClass that an Ingress asks for; "" if it asks for none. The field goes before the annotation:
// the API has both agree when an Ingress is created, and whoever changes the field later means it.
func ClassOf(ing *networkingv1.Ingress) string {
	if ing.Spec.IngressClassName != nil {
		return *ing.Spec.IngressClassName
	}
	return ing.Annotations[AnnotationIngressClass]
}

// ServesClass reports whether Ingresses of a class, nil if it does not exist, are this program's to serve (rule I46).
func ServesClass(class *networkingv1.IngressClass) bool {
	return class != nil && class.Spec.Controller == IngressController
}

// DefaultClass is the class that an Ingress gets which names none: of those marked as default the newest, and of as old ones the
// first by name (rule I20); nil if none is marked.
func DefaultClass(classes []networkingv1.IngressClass) *networkingv1.IngressClass {
	var chosen *networkingv1.IngressClass
	for i := range classes {
		c := &classes[i]
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
			continue
		}
		if chosen == nil || newerClass(c, chosen) {
			chosen = c
		}
	}
	return chosen
}

func newerClass(a, b *networkingv1.IngressClass) bool {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c > 0
	}
	return a.Name < b.Name
}

// AnnotationNoIngress, on a Node, says that Ingresses are not served there; its value is the reason. The node's agent writes it.
const AnnotationNoIngress = "fairlead.dev/no-ingress"

// ServesIngresses reports whether Ingresses are reached by the addresses of a node: it is ready, serves them, and nobody has excluded it.
func ServesIngresses(n *corev1.Node) bool {
	_, not := n.Annotations[AnnotationNoIngress]
	_, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]
	return NodeReady(n) && !not && !excluded
}
