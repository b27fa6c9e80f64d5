package fuzz

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

const (
	// Namespace is where everything happens that has a namespace.
	Namespace = "fuzz"
	// prefix begins the names of all objects that are written.
	prefix = "fuzz-"
)

// target is a resource or subresource that is served.
type target struct {
	gv                    schema.GroupVersion
	kind                  string
	resource, subresource string
	namespaced            bool
	connects              bool // something else than the server answers
}

// connections are subresources that others answer, who may be absent: 502, 503 and 504 are right for them.
var connections = []string{"proxy", "exec", "attach", "portforward", "log"}

// targets asks the server what it serves.
func targets(client discovery.DiscoveryInterface) ([]target, error) {
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return nil, fmt.Errorf("what is served: %w", err)
	}
	var all []target
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("what is served: %w", err)
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			resource, sub, _ := strings.Cut(r.Name, "/")
			all = append(all, target{gv: gv, kind: r.Kind, resource: resource, subresource: sub, namespaced: r.Namespaced,
				connects: slices.Contains(connections, sub)})
		}
	}
	return all, nil
}

// collection is the path of all objects of the resource.
func (t target) collection() string {
	root := "/apis/" + t.gv.String()
	if t.gv.Group == "" {
		root = "/api/" + t.gv.Version
	}
	if t.namespaced {
		root += "/namespaces/" + Namespace
	}
	return root + "/" + t.resource
}

// named is the path of one object, or of its subresource.
func (t target) named(name string) string {
	path := t.collection() + "/" + url.PathEscape(name)
	if t.subresource != "" {
		path += "/" + t.subresource
	}
	return path
}

// names are those of objects that are written.
func names() []string {
	return []string{prefix + "a", prefix + "b", prefix + "c"}
}

// strangeNames are of objects that are only read, or that cannot be.
func strangeNames() []string {
	return []string{"a%2fb", "..", ".", "UPPER", " ", "%00", strings.Repeat("x", 300), "a:b", "http:a:80", "ä", "-"}
}

// pick returns one of a list.
func pick[T any](dice *rand.Rand, list []T) T { return list[dice.IntN(len(list))] }

// prepare makes the namespace.
func prepare(ctx context.Context, send func(context.Context, *request) (int, string, error)) error {
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, Namespace)
	code, answer, err := send(ctx, &request{method: "POST", path: "/api/v1/namespaces", contentType: typeJSON, accept: typeJSON, body: body})
	if err != nil {
		return fmt.Errorf("namespace %s: %w", Namespace, err)
	}
	if code != 201 && code != 409 {
		return fmt.Errorf("namespace %s: %d %s", Namespace, code, answer)
	}
	return nil
}

// removal deletes a cluster-wide object that was made.
func (t target) removal(name string) *request {
	policy := metav1.DeletePropagationBackground
	return &request{method: "DELETE", path: target{gv: t.gv, resource: t.resource}.named(name), accept: typeJSON,
		query: url.Values{"propagationPolicy": {string(policy)}, "gracePeriodSeconds": {"0"}}}
}
