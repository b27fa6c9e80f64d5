package apiserver_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

const widgetDefinition = `{
	"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
	"metadata": {"name": "widgets.shop.example.com"},
	"spec": {
		"group": "shop.example.com", "scope": "Namespaced",
		"names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
		"versions": [{
			"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
			"schema": {"openAPIV3Schema": {"type": "object", "properties": {
				"spec": {"type": "object", "properties": {
					"size": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "red"},
					"parts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}},
				"status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
			"additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]}]}}`

func definitions() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

func widgets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "shop.example.com", Version: "v1", Resource: "widgets"}
}

func dynamicOf(t *testing.T, config *rest.Config) *dynamic.DynamicClient {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return obj
}

func widget(t *testing.T, name, spec string) *unstructured.Unstructured {
	return parse(t, `{"apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": {"name": "`+name+`"}, "spec": `+spec+`}`)
}

// define creates the definition of widgets and waits until they are discovered.
func define(t *testing.T, config *rest.Config) {
	t.Helper()
	if _, err := dynamicOf(t, config).Resource(definitions()).Create(t.Context(), parse(t, widgetDefinition), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	found := discovery.NewDiscoveryClientForConfigOrDie(config)
	eventually(t, "widgets are discovered", func() bool {
		list, err := found.ServerResourcesForGroupVersion("shop.example.com/v1")
		return err == nil && len(list.APIResources) == 2
	})
}

// put applies a widget as kubectl apply --server-side does.
func put(t *testing.T, config *rest.Config, w *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return dynamicOf(t, config).Resource(widgets()).Namespace("default").Apply(t.Context(), w.GetName(), w, metav1.ApplyOptions{FieldManager: "test"})
}

func TestCustomResources(t *testing.T) {
	config := apitest.Start(t)
	define(t, config)
	made, err := put(t, config, widget(t, "w1", `{"size": 3, "parts": ["a"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if colour, _, _ := unstructured.NestedString(made.Object, "spec", "colour"); colour != "red" || len(made.GetManagedFields()) != 1 {
		t.Errorf("applied %v", made.Object)
	}
	if _, err := dynamicOf(t, config).Resource(widgets()).Namespace("default").Apply(t.Context(), "w1",
		widget(t, "w1", `{"parts": ["b"]}`), metav1.ApplyOptions{FieldManager: "other"}); err != nil {
		t.Fatal(err)
	}
	got, err := dynamicOf(t, config).Resource(widgets()).Namespace("default").Get(t.Context(), "w1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if parts, _, _ := unstructured.NestedStringSlice(got.Object, "spec", "parts"); len(parts) != 2 {
		t.Errorf("the parts of two appliers are %v", parts)
	}
	_, _, body := request(t, config, http.MethodGet, "/apis/shop.example.com/v1/namespaces/default/widgets", "application/json;as=Table;v=v1;g=meta.k8s.io", "")
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil || len(table.Rows) != 1 || len(table.ColumnDefinitions) != 2 ||
		table.ColumnDefinitions[1].Name != "Size" || table.Rows[0].Cells[1] != float64(3) {
		t.Errorf("table %s: %v", body, err)
	}
	if err := dynamicOf(t, config).Resource(definitions()).Delete(t.Context(), "widgets.shop.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is gone with its definition", func() bool {
		_, err := dynamicOf(t, config).Resource(widgets()).Namespace("default").List(t.Context(), metav1.ListOptions{})
		return apierrors.IsNotFound(err) && !slices.Contains(groupsListed(t, config, "application/json"), "shop.example.com")
	})
}

func TestCustomResourcesAreValidated(t *testing.T) {
	config := apitest.Start(t)
	define(t, config)
	space := dynamicOf(t, config).Resource(widgets()).Namespace("default")
	strict := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	for name, c := range map[string]struct{ spec, want string }{
		"an unknown field": {`{"size": 3, "wheels": 4}`, `strict decoding error: unknown field "spec.wheels"`},
		"a wrong type":     {`{"size": "big"}`, `spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"`},
		"a bad value":      {`{"size": 0}`, `spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1`},
	} {
		if _, err := space.Create(t.Context(), widget(t, "w", c.spec), strict); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := dynamicOf(t, config).Resource(widgets()).Namespace("nowhere").Create(t.Context(), widget(t, "w", `{}`), strict)
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `namespaces "nowhere" not found`) {
		t.Errorf("in a namespace that does not exist: %v", err)
	}
}

// groupsListed is the names in /apis, as an old client (application/json) or an aggregated one asks for it.
func groupsListed(t *testing.T, config *rest.Config, accept string) []string {
	t.Helper()
	_, _, body := request(t, config, http.MethodGet, "/apis", accept, "")
	var list struct {
		Groups []struct{ Name string }
		Items  []struct{ Metadata struct{ Name string } }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range list.Groups {
		names = append(names, g.Name)
	}
	for _, g := range list.Items {
		names = append(names, g.Metadata.Name)
	}
	return names
}

func TestCustomResourcesAreDiscovered(t *testing.T) {
	config := apitest.Start(t)
	// kubectl lists the definitions before it says that there are "no matches for kind".
	list, err := dynamicOf(t, config).Resource(definitions()).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Fatalf("definitions of a new cluster: %v, %v", list, err)
	}
	if code, _, _ := request(t, config, http.MethodGet, "/apis/shop.example.com/v1", "application/json", ""); code != http.StatusNotFound {
		t.Errorf("a group nobody defined answers %d", code)
	}
	_, _, before := request(t, config, http.MethodGet, "/openapi/v2", "application/json", "")
	define(t, config)
	for _, accept := range []string{"application/json", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"} {
		eventually(t, "groups in "+accept, func() bool {
			names := groupsListed(t, config, accept)
			return slices.Contains(names, "shop.example.com") && slices.Contains(names, "apiextensions.k8s.io") && slices.Contains(names, "apps")
		})
	}
	_, _, body := request(t, config, http.MethodGet, "/openapi/v3", "application/json", "")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(body, &index); err != nil {
		t.Fatal(err)
	}
	for group, model := range map[string]string{
		"apis/shop.example.com/v1":     `"com.example.shop.v1.Widget"`,
		"apis/apiextensions.k8s.io/v1": `"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"`,
	} {
		code, _, body := request(t, config, http.MethodGet, index.Paths[group].ServerRelativeURL, "application/json", "")
		if code != http.StatusOK || !strings.Contains(string(body), model) {
			t.Errorf("OpenAPI of %s at %q: %d without %s", group, index.Paths[group].ServerRelativeURL, code, model)
		}
	}
	_, _, after := request(t, config, http.MethodGet, "/openapi/v2", "application/json", "")
	if strings.Contains(string(before), "com.example.shop") || !strings.Contains(string(after), `"com.example.shop.v1.Widget"`) ||
		!strings.Contains(string(after), "io.k8s.api.core.v1.Pod") {
		t.Errorf("OpenAPI v2 has %d bytes before and %d after the definition", len(before), len(after))
	}
}

func TestCustomResourcesSurviveRestart(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	define(t, server.ClientConfig())
	if _, err := put(t, server.ClientConfig(), widget(t, "kept", `{"size": 1}`)); err != nil {
		t.Fatal(err)
	}
	stop()
	server, _ = apitest.Run(t, cfg)
	if _, err := dynamicOf(t, server.ClientConfig()).Resource(widgets()).Namespace("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("as soon as the server is ready: %v", err)
	}
	if !slices.Contains(groupsListed(t, server.ClientConfig(), "application/json"), "shop.example.com") {
		t.Error("the group is not listed as soon as the server is ready")
	}
}
