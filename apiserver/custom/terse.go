package custom

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// terse takes what only readers need out of the schemas of a definition, in place: no object is validated by a description. It
// returns how many schemas there are, one in the other, which what serves them is in proportion to.
func terse(d *apiextensionsv1.CustomResourceDefinition) (schemas int) {
	for _, v := range d.Spec.Versions {
		if v.Schema != nil {
			schemas += terseSchema(v.Schema.OpenAPIV3Schema)
		}
	}
	return schemas
}

func terseSchema(s *apiextensionsv1.JSONSchemaProps) int {
	if s == nil {
		return 0
	}
	s.Description, s.Title, s.Example, s.ExternalDocs = "", "", nil, nil
	n := 1 + terseSchema(s.Not)
	for _, list := range [][]apiextensionsv1.JSONSchemaProps{s.AllOf, s.OneOf, s.AnyOf} {
		n += terseList(list)
	}
	for _, named := range []map[string]apiextensionsv1.JSONSchemaProps{s.Properties, s.PatternProperties, s.Definitions} {
		for name, inner := range named {
			n += terseSchema(&inner)
			named[name] = inner
		}
	}
	if s.Items != nil {
		n += terseSchema(s.Items.Schema) + terseList(s.Items.JSONSchemas)
	}
	for _, more := range []*apiextensionsv1.JSONSchemaPropsOrBool{s.AdditionalProperties, s.AdditionalItems} {
		if more != nil {
			n += terseSchema(more.Schema)
		}
	}
	return n
}

func terseList(list []apiextensionsv1.JSONSchemaProps) (n int) {
	for i := range list {
		n += terseSchema(&list[i])
	}
	return n
}
