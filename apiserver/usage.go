package apiserver

import (
	"errors"

	genericapiserver "k8s.io/apiserver/pkg/server"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"fairlead.dev/fairlead/apiserver/nodelink"
	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/usage"
)

// usageGroup answers for what nodes and pods use, through link, until a metrics-server of the user's own does.
func usageGroup(groups []*genericapiserver.APIGroupInfo, link *nodelink.Link) (*genericapiserver.APIGroupInfo, error) {
	core := find(groups, "")
	pods, ok := core["pods"].(usage.Objects)
	nodes, also := core["nodes"].(usage.Objects)
	if !ok || !also {
		return nil, errors.New("api server: pods or nodes cannot be listed")
	}
	info := genericapiserver.NewDefaultAPIGroupInfo(metricsv1beta1.GroupName, registry.Scheme, registry.ParameterCodec, registry.Codecs)
	info.VersionedResourcesStorageMap["v1beta1"] = usage.Storage(usage.Source{Pods: pods, Nodes: nodes, Ask: link.Usage})
	return &info, nil
}
