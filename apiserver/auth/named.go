package auth

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/apiserver/registry"
)

// serves says whether nodes serve something that names a Secret or a ConfigMap: every node serves every Ingress of a class of ours,
// and may have a session with every BGPPeer. What else may name one (a listener's certificate) is asked here, too.
func (b *Bound) serves(ctx context.Context, resource string, name types.NamespacedName) (bool, error) {
	if names, err := b.gatewayNames(ctx, api.Read{Resource: resource, Name: name}); names || err != nil {
		return names, err
	}
	if name.Namespace == "" || name.Name == "" || b.Ingresses == nil {
		return false, nil
	}
	if resource == "configmaps" {
		return b.ingressNames(ctx, naming{fields.Everything(), registry.IngressConfigMapIndex, name}, ingressrefs.ConfigMaps)
	}
	if names, err := b.peerNames(ctx, name); names || err != nil {
		return names, err
	}
	return b.ingressNames(ctx, naming{fields.Everything(), registry.IngressSecretIndex, name}, ingressrefs.Secrets)
}

// gatewayNames says whether the Service of a Gateway names a Secret or ConfigMap: the controller of Gateways has found out that it may.
func (b *Bound) gatewayNames(ctx context.Context, r api.Read) (bool, error) {
	if r.Name.Namespace == "" || r.Name.Name == "" || b.Services == nil {
		return false, nil
	}
	ctx = genericapirequest.WithNamespace(ctx, "")
	labelled, err := labels.Parse(api.LabelGatewayName)
	if err != nil {
		return false, err
	}
	for _, version := range versions() {
		list, err := b.Services.List(ctx, &metainternalversion.ListOptions{ResourceVersion: version, LabelSelector: labelled})
		if err != nil {
			return false, err
		}
		all := list.(*corev1.ServiceList).Items
		if slices.ContainsFunc(all, func(s corev1.Service) bool { return api.MayRead(&s, r) }) {
			return true, nil
		}
	}
	return false, nil
}

// peerNames says whether a Secret is the password of a BGPPeer.
func (b *Bound) peerNames(ctx context.Context, secret types.NamespacedName) (bool, error) {
	if secret.Namespace != metav1.NamespaceSystem || b.BGPPeers == nil {
		return false, nil
	}
	ctx = genericapirequest.WithNamespace(ctx, "")
	for _, version := range versions() {
		list, err := b.list(ctx, b.BGPPeers, version, fields.Everything())
		if err != nil {
			return false, err
		}
		for _, p := range list.(*kinds.BGPPeerList).Items {
			if s := p.Spec.PasswordSecret; s != nil && s.Name == secret.Name {
				return true, nil
			}
		}
	}
	return false, nil
}

// ingressNames says whether an Ingress that is served names an object; refs are those that one names.
func (b *Bound) ingressNames(ctx context.Context, object naming, refs func(*networkingv1.Ingress) []types.NamespacedName) (bool, error) {
	ctx = genericapirequest.WithNamespace(ctx, object.name.Namespace)
	for _, version := range versions() {
		list, err := b.list(ctx, b.Ingresses, version, object)
		if err != nil {
			return false, err
		}
		ingresses := list.(*networkingv1.IngressList).Items
		for i := range ingresses {
			if !slices.Contains(refs(&ingresses[i]), object.name) {
				continue
			}
			if ours, err := b.serving(ctx, api.ClassOf(&ingresses[i])); ours || err != nil {
				return ours, err
			}
		}
	}
	return false, nil
}

// serving says whether Ingresses of a class are ours to serve.
func (b *Bound) serving(ctx context.Context, class string) (bool, error) {
	if class == "" {
		return false, nil
	}
	ctx = genericapirequest.WithNamespace(ctx, "")
	for _, version := range versions() {
		obj, err := b.IngressClasses.Get(ctx, class, &metav1.GetOptions{ResourceVersion: version})
		if err == nil {
			return api.ServesClass(obj.(*networkingv1.IngressClass)), nil
		}
		if !apierrors.IsNotFound(err) {
			return false, err
		}
	}
	return false, nil
}

// naming selects the Ingresses that name an object. The watch cache finds them by its index, which alone knows the field; where
// there is no index, as while the cache is being filled, it selects all, and who asks looks at each.
type naming struct {
	fields.Selector
	index string
	name  types.NamespacedName
}

// RequiresExactMatch is what an index is chosen by.
func (n naming) RequiresExactMatch(field string) (value string, found bool) {
	return n.name.String(), field == n.index
}

// Empty is false: the selector selects.
func (n naming) Empty() bool { return false }
