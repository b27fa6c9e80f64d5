package apiserver

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"fairlead.dev/fairlead/apiserver/custom"
	"fairlead.dev/fairlead/apiserver/nodelink"
	"fairlead.dev/fairlead/apiserver/openapi"
)

// customResources builds what answers for groups that are not built in. It takes generic before that is
// completed, and shares its admission, rights and aggregated discovery.
func customResources(generic *genericapiserver.Config, etcd *backend, webhooks nodelink.Resolver) (*custom.Server, error) {
	return custom.New(custom.Config{
		Generic:  *generic,
		Objects:  etcd.options(unstructured.UnstructuredJSONScheme),
		Storage:  etcd.uncached,
		Namer:    openapinamer.NewDefinitionNamer(openapi.Scheme()),
		Webhooks: webhooks,
		Outgoing: webhooks.Outgoing(),
	})
}

// groupNames are the names of groups, without the core group.
func groupNames(groups []*genericapiserver.APIGroupInfo) []string {
	var names []string
	for _, g := range groups[1:] {
		names = append(names, g.PrioritizedVersions[0].Group)
	}
	return names
}
