package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"fairlead.dev/fairlead/internal/apitest"
	common "fairlead.dev/fairlead/internal/definitions"
)

// install applies definitions as kubectl apply --server-side does, and waits until they are established. It returns what they define.
func install(t *testing.T, client dynamic.Interface, all ...[]byte) (kinds []schema.GroupVersionResource) {
	t.Helper()
	for _, text := range all {
		d := parse(t, string(text))
		if _, err := client.Resource(definitions()).Apply(t.Context(), d.GetName(), d, metav1.ApplyOptions{FieldManager: "kubectl"}); err != nil {
			t.Fatalf("%s: %v", d.GetName(), err)
		}
		eventually(t, d.GetName()+" is established", func() bool {
			now, err := client.Resource(definitions()).Get(t.Context(), d.GetName(), metav1.GetOptions{})
			return err == nil && hasCondition(now, "Established")
		})
		plural, group, _ := strings.Cut(d.GetName(), ".")
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		version := versions[len(versions)-1].(map[string]any)["name"].(string)
		kinds = append(kinds, schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
	}
	return kinds
}

func hasCondition(d *unstructured.Unstructured, name string) bool {
	conditions, _, _ := unstructured.NestedSlice(d.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, ok := c.(map[string]any)
		return ok && m["type"] == name && m["status"] == "True"
	})
}

// thing is an object of one of the common definitions.
func thing(t *testing.T, kind schema.GroupVersionResource, name string) *unstructured.Unstructured {
	of := "Thing" + strings.ToUpper(kind.Resource[5:6])
	return parse(t, fmt.Sprintf(`{"apiVersion": %q, "kind": %q, "metadata": {"name": %q}, "spec": {"note": "kept", "nobody": "knows"}}`,
		kind.GroupVersion().String(), of, name))
}

// isWhole says whether an object has what its schema gives it and keeps, and nothing else.
func isWhole(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	if len(spec) != 2 || spec["note"] != "kept" || spec["replicas"] != int64(1) {
		t.Errorf("%s has spec %v, want its note and one replica by default", u.GetName(), spec)
	}
}

// More large kinds are used at once than may stay idle: what serves them is dropped and built again all the time.
func TestCustomResourcesWhileWhatServesThemIsRebuilt(t *testing.T) {
	client := dynamicOf(t, apitest.Start(t))
	kinds := install(t, client, common.Operator()[:4]...)
	watched, err := client.Resource(kinds[0]).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Stop()
	const writers, each = 4, 12
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				at := client.Resource(kinds[(w+i)%len(kinds)]).Namespace("default")
				if _, err := at.Create(t.Context(), thing(t, kinds[(w+i)%len(kinds)], fmt.Sprintf("t%d-%d", w, i)), metav1.CreateOptions{}); err != nil {
					t.Errorf("create: %v", err)
				}
			}
		})
	}
	group.Wait()
	for _, kind := range kinds {
		list, err := client.Resource(kind).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != writers*each/len(kinds) {
			t.Fatalf("%s: %d objects, want %d: %v", kind.Resource, len(list.Items), writers*each/len(kinds), err)
		}
		for i := range list.Items {
			isWhole(t, &list.Items[i])
		}
	}
	for i := range writers * each / len(kinds) {
		select {
		case e, ok := <-watched.ResultChan():
			if !ok {
				t.Fatalf("the watch ended after %d events", i)
			}
			isWhole(t, e.Object.(*unstructured.Unstructured))
		case <-t.Context().Done():
			t.Fatal("no event")
		}
	}
}

func TestDefinitionChangesWhileItIsUsed(t *testing.T) {
	config := apitest.Start(t)
	client := dynamicOf(t, config)
	define(t, config)
	watched, err := client.Resource(widgets()).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, config, widget(t, "w1", `{"size": 500}`)); err != nil {
		t.Fatal(err)
	}
	bound := `[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum", "value": 9}]`
	if _, err := client.Resource(definitions()).Patch(t.Context(), "widgets.shop.example.com", types.JSONPatchType, []byte(bound), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new bound holds", func() bool {
		_, err := client.Resource(widgets()).Namespace("default").Create(t.Context(), widget(t, "w2", `{"size": 10}`), metav1.CreateOptions{DryRun: []string{"All"}})
		return apierrors.IsInvalid(err)
	})
	eventually(t, "the watch of the former definition ends", func() bool {
		for {
			select {
			case _, ok := <-watched.ResultChan():
				if !ok {
					return true
				}
			default:
				return false
			}
		}
	})
}

// The server's own controllers read and write definitions without schemas. None of that may be lost by their writes.
func TestDefinitionsStayWhole(t *testing.T) {
	config := apitest.Start(t)
	client := dynamicOf(t, config)
	want := parse(t, string(common.Operator()[10]))
	kinds := install(t, client, common.Operator()[10])
	got, err := client.Resource(definitions()).Get(t.Context(), want.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetAnnotations()["generated.example.com/version"] == "" {
		t.Errorf("annotations are %v", got.GetAnnotations())
	}
	owned := slices.ContainsFunc(got.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == "kubectl" && strings.Contains(string(m.FieldsV1.GetRawBytes()), `"f:versions"`)
	})
	if !owned {
		t.Error("who applied the definition does not own its versions any more")
	}
	wanted, _, _ := unstructured.NestedSlice(want.Object, "spec", "versions")
	have, _, _ := unstructured.NestedSlice(got.Object, "spec", "versions")
	if a, b := schemaText(t, wanted[0]), schemaText(t, have[0]); a != b {
		t.Errorf("the schema has become %.300s", b)
	}
	code, _, body := request(t, config, http.MethodGet, "/openapi/v3/apis/"+kinds[0].GroupVersion().String(), "application/json", "")
	description, _, _ := unstructured.NestedString(wanted[0].(map[string]any), "schema", "openAPIV3Schema", "description")
	if code != http.StatusOK || !strings.Contains(string(body), description) {
		t.Errorf("OpenAPI answers %d without %q", code, description)
	}
}

func schemaText(t *testing.T, version any) string {
	text, err := json.Marshal(version.(map[string]any)["schema"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDefinitionDeletedWithObjects(t *testing.T) {
	config := apitest.Start(t)
	client := dynamicOf(t, config)
	kind := install(t, client, common.Operator()[10])[0]
	at := client.Resource(kind).Namespace("default")
	held := thing(t, kind, "held")
	held.SetFinalizers([]string{"test.example.com/hold"})
	for _, u := range []*unstructured.Unstructured{held, thing(t, kind, "free")} {
		if _, err := at.Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	name := kind.Resource + "." + kind.Group
	if err := client.Resource(definitions()).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the free object goes, the held one waits", func() bool {
		list, err := at.List(t.Context(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 1 && list.Items[0].GetDeletionTimestamp() != nil
	})
	now, err := at.Get(t.Context(), "held", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	isWhole(t, now)
	if _, err := at.Create(t.Context(), thing(t, kind, "late"), metav1.CreateOptions{}); err == nil {
		t.Error("an object of a definition that is going was created")
	}
	if _, err := at.Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the definition goes", func() bool {
		_, err := client.Resource(definitions()).Get(context.WithoutCancel(t.Context()), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// Tables and metadata are made of definitions without schemas, a few at a time.
func TestDefinitionsAsTables(t *testing.T) {
	config := apitest.Start(t)
	install(t, dynamicOf(t, config), common.Common()[4:13]...)
	const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	list := func(query, as string) (names []string, next string, body string) {
		code, _, text := request(t, config, http.MethodGet, path+query, "application/json;as="+as+";v=v1;g=meta.k8s.io,application/json", "")
		var answer struct {
			Metadata struct{ Continue, ResourceVersion string }
			Rows     []struct {
				Object struct{ Metadata metav1.ObjectMeta }
			}
			Items []struct{ Metadata metav1.ObjectMeta }
		}
		if err := json.Unmarshal(text, &answer); err != nil || code != http.StatusOK || answer.Metadata.ResourceVersion == "" {
			t.Fatalf("%s: %d %.300s: %v", query, code, text, err)
		}
		for _, r := range answer.Rows {
			names = append(names, r.Object.Metadata.Name)
		}
		for _, item := range answer.Items {
			names = append(names, item.Metadata.Name)
			if len(item.Metadata.ManagedFields) == 0 {
				t.Errorf("%s has lost its managed fields", item.Metadata.Name)
			}
		}
		return names, answer.Metadata.Continue, string(text)
	}
	for _, as := range []string{"Table", "PartialObjectMetadataList"} {
		if names, next, _ := list("", as); len(names) != 9 || next != "" || !slices.IsSorted(names) {
			t.Errorf("%s: %v, and more after %q", as, names, next)
		}
		names, next, _ := list("?limit=5", as)
		rest, end, _ := list("?limit=5&continue="+next, as)
		if len(names) != 5 || len(rest) != 4 || next == "" || end != "" || slices.Contains(rest, names[4]) {
			t.Errorf("%s: %v, then after %q %v, %q", as, names, next, rest, end)
		}
	}
	if _, _, body := list("?includeObject=Object", "Table"); !strings.Contains(body, "IfNotPresent") {
		t.Error("whole objects in a table have no schemas")
	}
}
