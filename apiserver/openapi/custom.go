package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	apiextensionshelpers "k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	listers "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Definitions are those of the custom resources that are served.
type Definitions interface {
	// Definitions are all, without their schemas.
	Definitions() listers.CustomResourceDefinitionLister
	// Whole is one of them as it is stored now.
	Whole(ctx context.Context, name string) (*apiextensionsv1.CustomResourceDefinition, error)
}

// custom makes the documents of custom resources from their definitions. Unlike upstream's controllers,
// which hold the document of every definition, it builds one when it is asked for and keeps it compressed.
type custom struct {
	definitions Definitions

	mu        sync.Mutex
	documents map[string]*document // by group version
}

// served is one version of an established definition.
type served struct {
	definition *apiextensionsv1.CustomResourceDefinition
	version    string
}

func (s served) mark() string {
	return "\n" + s.definition.Name + " " + string(s.definition.UID) + " " + s.definition.ResourceVersion
}

// served are the versions of every established definition by group version, in the order of their names.
func (c *custom) served() map[string][]served {
	definitions, err := c.definitions.Definitions().List(labels.Everything())
	if err != nil {
		return nil // a list of what is in memory does not fail
	}
	slices.SortFunc(definitions, func(a, b *apiextensionsv1.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
	all := map[string][]served{}
	for _, d := range definitions {
		if !apiextensionshelpers.IsCRDConditionTrue(d, apiextensionsv1.Established) {
			continue
		}
		for _, v := range d.Spec.Versions {
			if v.Served {
				group := "apis/" + d.Spec.Group + "/" + v.Name
				all[group] = append(all[group], served{d, v.Name})
			}
		}
	}
	return all
}

// marks identifies the content of each group version.
func (c *custom) marks() map[string]string {
	marks := map[string]string{}
	for group, kinds := range c.served() {
		marks[group] = markOf(kinds)
	}
	return marks
}

func markOf(kinds []served) string {
	var b strings.Builder
	for _, k := range kinds {
		b.WriteString(k.mark())
	}
	return b.String()
}

// mark identifies the content of all definitions.
func (c *custom) mark() string {
	marks := c.marks()
	groups := make([]string, 0, len(marks))
	for group, mark := range marks {
		groups = append(groups, group+mark)
	}
	slices.Sort(groups)
	return strings.Join(groups, "\n")
}

// document is that of a group version. Documents of groups that are gone are dropped here.
func (c *custom) document(group string) (*document, bool) {
	all := c.served()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.documents {
		if all[name] == nil {
			delete(c.documents, name)
		}
	}
	kinds, ok := all[group]
	if !ok {
		return nil, false
	}
	mark := markOf(kinds)
	if d := c.documents[group]; d != nil && d.mark == mark {
		return d, true
	}
	d := &document{mark: mark, json: func() ([]byte, error) { return c.build(group, kinds) }, proto: handler3.ToV3ProtoBinary}
	c.documents[group] = d
	return d, true
}

func (c *custom) build(group string, kinds []served) ([]byte, error) {
	var parts []*spec3.OpenAPI
	for _, k := range kinds {
		whole, err := c.definitions.Whole(context.Background(), k.definition.Name)
		if err != nil {
			return nil, fmt.Errorf("openapi: build %s: %w", group, err)
		}
		part, err := builder.BuildOpenAPIV3(whole, k.version, builder.Options{IncludeSelectableFields: true})
		if err != nil {
			return nil, fmt.Errorf("openapi: build %s of %s: %w", k.version, k.definition.Name, err)
		}
		parts = append(parts, part)
	}
	whole, err := builder.MergeSpecsV3(parts...)
	if err != nil {
		return nil, fmt.Errorf("openapi: build %s: %w", group, err)
	}
	return json.Marshal(whole)
}

// merge adds every definition to the document of the built-in groups, whose defaults are pruned already.
func (c *custom) merge(builtIn *spec.Swagger) (*spec.Swagger, error) {
	var parts []*spec.Swagger
	for _, kinds := range c.served() {
		for _, k := range kinds {
			whole, err := c.definitions.Whole(context.Background(), k.definition.Name)
			if err != nil {
				return nil, fmt.Errorf("openapi: build v2: %w", err)
			}
			part, err := builder.BuildOpenAPIV2(whole, k.version, builder.Options{V2: true, IncludeSelectableFields: true})
			if err != nil {
				return nil, fmt.Errorf("openapi: build v2 of %s: %w", k.definition.Name, err)
			}
			part.Definitions = handler.PruneDefaults(part.Definitions)
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return builtIn, nil
	}
	whole, err := builder.MergeSpecs(builtIn, parts...)
	if err != nil {
		return nil, fmt.Errorf("openapi: build v2 with custom resources: %w", err)
	}
	return whole, nil
}
