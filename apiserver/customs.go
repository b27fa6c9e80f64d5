package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"fairlead.dev/fairlead/apiserver/custom"
	"fairlead.dev/fairlead/apiserver/nodelink"
	"fairlead.dev/fairlead/apiserver/openapi"
)

// customResources builds what answers for groups that are not built in. It takes generic before that is
// completed, and shares its admission, rights and aggregated discovery.
func customResources(generic *genericapiserver.Config, etcd []string, webhooks nodelink.Resolver) (*custom.Server, error) {
	return custom.New(custom.Config{
		Generic: *generic,
		Storage: func(codec runtime.Codec) *storagebackend.Config {
			c := storageConfig(etcd)
			c.Codec = codec
			return c
		},
		Namer:    openapinamer.NewDefinitionNamer(openapi.Scheme()),
		Webhooks: webhooks,
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
