package auth

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api/podrefs"
)

// Bound knows which pods are bound to which node, and what nodes serve for others. It reads the watch cache, which finds the pods of a node by an index; the
// store has the last word on what the cache lacks, so that a pod bound a millisecond ago counts.
type Bound struct {
	// Pods is the storage of pods, Nodes that of nodes, and so on. They are set before the server serves.
	Pods, Nodes    Storage
	Services       Storage
	Volumes        Storage // PersistentVolumes
	Ingresses      Storage
	IngressClasses Storage
	BGPPeers       Storage
	// Requests is the storage of PodCertificateRequests, Accounts that of service accounts.
	Requests, Accounts Storage
}

// Storage is that of a kind, to be read.
type Storage interface {
	rest.Getter
	rest.Lister
}

// versions are how old an answer may be, from any to none.
func versions() []string { return []string{"0", ""} }

// bound says whether a pod, or a request for a certificate of one, is bound to a node.
func (b *Bound) bound(ctx context.Context, resource, namespace, name, node string) (bool, error) {
	from := b.Pods
	if resource != "pods" {
		from = b.Requests
	}
	ctx = genericapirequest.WithNamespace(ctx, namespace)
	for _, version := range versions() {
		obj, err := from.Get(ctx, name, &metav1.GetOptions{ResourceVersion: version})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		if err == nil && nodeOf(obj) == node {
			return true, nil
		}
	}
	return false, nil
}

func nodeOf(obj runtime.Object) string {
	switch of := obj.(type) {
	case *corev1.Pod:
		return of.Spec.NodeName
	case *certificatesv1.PodCertificateRequest:
		return string(of.Spec.NodeName)
	}
	return ""
}

// refers says whether a pod that is bound to a node refers to a Secret, ConfigMap or claim, or runs as a service account.
func (b *Bound) refers(ctx context.Context, node, namespace, resource, name string) (bool, error) {
	if name == "" || b.Pods == nil {
		return false, nil
	}
	ctx = genericapirequest.WithNamespace(ctx, namespace)
	for _, version := range versions() {
		list, err := b.list(ctx, b.Pods, version, fields.OneTermEqualSelector(podNodeField, node))
		if err != nil {
			return false, err
		}
		pods := list.(*corev1.PodList).Items
		for i := range pods {
			if resource == "serviceaccounts" && pods[i].Spec.ServiceAccountName == name {
				return true, nil
			}
			names := podrefs.Of(&pods[i])
			of := map[string]map[string]bool{"secrets": names.Secrets, "configmaps": names.ConfigMaps, "persistentvolumeclaims": names.Claims}
			if of[resource][name] {
				return true, nil
			}
		}
	}
	return false, nil
}

// mounts says whether a pod that is bound to a node refers to the claim that a volume is bound to.
func (b *Bound) mounts(ctx context.Context, node, name string) (bool, error) {
	if name == "" || b.Volumes == nil {
		return false, nil
	}
	obj, err := b.Volumes.Get(genericapirequest.WithNamespace(ctx, ""), name, &metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	v, ok := obj.(*corev1.PersistentVolume)
	if !ok || err != nil || v.Spec.ClaimRef == nil {
		return false, nil
	}
	return b.refers(ctx, node, v.Spec.ClaimRef.Namespace, "persistentvolumeclaims", v.Spec.ClaimRef.Name)
}

// node reads a node.
func (b *Bound) node(ctx context.Context, name string) (*corev1.Node, error) {
	obj, err := b.Nodes.Get(genericapirequest.WithNamespace(ctx, ""), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Node), nil
}

// nodes lists the nodes there are.
func (b *Bound) nodes(ctx context.Context) ([]*corev1.Node, error) {
	list, err := b.list(genericapirequest.WithNamespace(ctx, ""), b.Nodes, "", fields.Everything())
	if err != nil {
		return nil, err
	}
	items := list.(*corev1.NodeList).Items
	nodes := make([]*corev1.Node, len(items))
	for i := range items {
		nodes[i] = &items[i]
	}
	return nodes, nil
}

func (b *Bound) list(ctx context.Context, from rest.Lister, version string, selector fields.Selector) (runtime.Object, error) {
	return from.List(ctx, &metainternalversion.ListOptions{ResourceVersion: version, FieldSelector: selector})
}
