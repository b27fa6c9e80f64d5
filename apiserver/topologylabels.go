package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// topologyLabels is upstream's admission plugin PodTopologyLabels: a pod that is put on a node gets the node's zone and region as labels,
// which its containers may read. It reads nodes from the storage, where upstream has a cache of them.
type topologyLabels struct {
	*admission.Handler
	nodes rest.Getter
}

var _ admission.MutationInterface = &topologyLabels{}

func newTopologyLabels(nodes rest.Getter) *topologyLabels {
	return &topologyLabels{admission.NewHandler(admission.Create), nodes}
}

// Admit is part of admission.MutationInterface: a binding's labels become those of its pod.
func (t *topologyLabels) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	switch obj := a.GetObject().(type) {
	case *corev1.Pod:
		if a.GetSubresource() == "" && obj.Spec.NodeName != "" {
			return t.add(ctx, obj.Spec.NodeName, obj)
		}
	case *corev1.Binding:
		if obj.Target.Kind == "Node" && obj.Target.Name != "" {
			return t.add(ctx, obj.Target.Name, obj)
		}
	}
	return nil
}

func (t *topologyLabels) add(ctx context.Context, name string, to metav1.Object) error {
	obj, err := t.nodes.Get(genericapirequest.WithNamespace(ctx, ""), name, &metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return nil // a pod may name a node that is not there yet
	}
	if err != nil {
		return err
	}
	labels := to.GetLabels()
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		value, ok := obj.(*corev1.Node).Labels[key]
		if !ok {
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	to.SetLabels(labels)
	return nil
}
