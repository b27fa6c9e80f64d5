package openapi

import (
	"maps"

	extensions "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"
)

// AllDefinitions is GetOpenAPIDefinitions with the types of apiextensions.k8s.io, for the documents.
func AllDefinitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	all := extensions.GetOpenAPIDefinitions(ref)
	maps.Copy(all, GetOpenAPIDefinitions(ref))
	return all
}
