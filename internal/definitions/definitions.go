// Package definitions makes CustomResourceDefinitions like those that clusters commonly hold, for tests and measurements of what
// they cost: as many, as large, as deeply nested, with descriptions, validations, rules and defaults.
package definitions

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// family is the definitions of one project.
type family struct {
	group    string
	versions []string // the last is stored
	sizes    []int    // kilobytes of each definition, about
}

// families have the numbers and sizes of a monitoring operator, a certificate manager, gateways, workflows, deployments from git,
// policies, and a service mesh.
var families = []family{
	{"monitoring.example.com", []string{"v1"}, []int{600, 560, 520, 420, 110, 90, 70, 40, 35, 30, 8}},
	{"certificates.example.com", []string{"v1"}, []int{250, 250, 230, 60, 20, 18}},
	{"gateway.example.com", []string{"v1beta1", "v1"}, []int{320, 130, 120, 60, 30, 20, 16, 12}},
	{"workflows.example.com", []string{"v1alpha1"}, []int{600, 580, 560, 420, 40, 30, 12, 6}},
	{"delivery.example.com", []string{"v1alpha1"}, []int{520, 300, 40}},
	{"policies.example.com", []string{"v1", "v2beta1", "v2"}, []int{600, 590, 150, 140, 60, 50, 40, 30, 16, 12}},
	{"mesh.example.com", []string{"v1alpha3", "v1"}, []int{160, 120, 90, 60, 40, 24, 5}},
}

// Operator is the first family alone: the eleven definitions of one large operator.
func Operator() [][]byte { return families[0].definitions() }

// Common is 53 definitions of seven projects, as JSON, 9 MB together. It is the same at every call.
func Common() [][]byte {
	var all [][]byte
	for _, f := range families {
		all = append(all, f.definitions()...)
	}
	return all
}

func (f family) definitions() [][]byte {
	var all [][]byte
	for i, size := range f.sizes {
		all = append(all, f.definition(i, size<<10))
	}
	return all
}

// definition is one of about size bytes, spread over its versions.
func (f family) definition(i, size int) []byte {
	kind := "Thing" + string(rune('A'+i))
	plural := fmt.Sprintf("thing%cs", 'a'+i)
	var versions []map[string]any
	for n, name := range f.versions {
		g := schema{Rand: rand.New(rand.NewPCG(uint64(size), uint64(i))), left: size / len(f.versions)}
		versions = append(versions, map[string]any{
			"name": name, "served": true, "storage": n == len(f.versions)-1,
			"subresources": map[string]any{"status": map[string]any{}},
			"additionalPrinterColumns": []any{map[string]any{
				"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "how old it is"}},
			"schema": map[string]any{"openAPIV3Schema": g.root()},
		})
	}
	out, err := json.Marshal(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + f.group, "annotations": map[string]any{"generated.example.com/version": "v0.1.0"}},
		"spec": map[string]any{
			"group": f.group, "scope": "Namespaced", "versions": versions,
			"names": map[string]any{"plural": plural, "singular": "thing" + string(rune('a'+i)), "kind": kind, "listKind": kind + "List"},
		},
	})
	if err != nil {
		panic(err) // of maps and strings
	}
	return out
}
