package apiserver

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"fairlead.dev/fairlead/apiserver/admission"
	"fairlead.dev/fairlead/apiserver/auth"
	"fairlead.dev/fairlead/apiserver/nodelink"
)

// admit builds the chain that every write passes, to built-in and custom resources alike.
func admit(cfg Config, own *self, generic *genericapiserver.Config, groups []*genericapiserver.APIGroupInfo, webhooks nodelink.Resolver, bound *auth.Bound, accounts *accounts) (k8sadmission.Interface, error) {
	core := groups[0].VersionedResourcesStorageMap["v1"]
	namespaces, err := getter(core, "namespaces")
	if err != nil {
		return nil, err
	}
	return admission.Server{
		Own: ownPlugins(cfg, namespaces, bound, accounts, generic.Authorization.Authorizer), Config: own.config, Client: own.client, Informers: own.informers, File: cfg.Admission,
		Authorizer: generic.Authorization.Authorizer, Version: generic.EffectiveVersion, Done: generic.DrainedNotify(),
		Namespaces: namespaces, Pods: bound.Pods, Services: webhooks, Outgoing: webhooks.Outgoing(),
		Serves: func(r schema.GroupResource) bool { return serves(groups, r) }, Empty: own.empty, Created: own.created.each,
	}.New()
}

// ownPlugins are those that this server has in the place of upstream's.
func ownPlugins(cfg Config, namespaces rest.Getter, bound *auth.Bound, accounts *accounts, roles authorizer.Authorizer) map[string]k8sadmission.Interface {
	return map[string]k8sadmission.Interface{
		admission.NamespaceLifecycle:            newNamespaceGuard(namespaces),
		admission.ServiceAccount:                accounts.admission,
		admission.NodeRestriction:               auth.NewNodeRestriction(cfg.Claims(), accounts.issuer.Audiences(), roles, bound),
		admission.CertificateSubjectRestriction: auth.NewSigning(cfg.Claims(), bound),
		admission.DefaultIngressClass:           newIngressGuard(bound.IngressClasses),
		admission.PodTopologyLabels:             newTopologyLabels(bound.Nodes),
	}
}

func serves(groups []*genericapiserver.APIGroupInfo, r schema.GroupResource) bool {
	for _, g := range groups {
		if g.PrioritizedVersions[0].Group != r.Group {
			continue
		}
		for _, resources := range g.VersionedResourcesStorageMap {
			if _, ok := resources[r.Resource]; ok {
				return true
			}
		}
	}
	return false
}

// resourceOf says which resource a kind is, custom ones included.
func (s *self) resourceOf(kind schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	list, err := s.client.Discovery().ServerResourcesForGroupVersion(kind.GroupVersion().String())
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	for _, r := range list.APIResources {
		if r.Kind == kind.Kind && !strings.Contains(r.Name, "/") {
			return kind.GroupVersion().WithResource(r.Name), nil
		}
	}
	return schema.GroupVersionResource{}, &meta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
}
