package apiserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestBundles applies bundles with the kinds and fields of charts and operators that many people install, as kubectl apply
// --server-side --validate=strict does: each object is taken, read back with every field, and the same when applied again.
// Of each bundle some variants are refused in Kubernetes' words.
func TestBundles(t *testing.T) {
	files, err := filepath.Glob("testdata/bundles/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bundles in testdata/bundles: %v", err)
	}
	a := newApplier(t, apitest.Start(t))
	variants := maps.Clone(wrongVariants)
	var applied []*unstructured.Unstructured
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			objects := readBundle(t, file)
			applied = append(applied, a.applyBundle(t, objects)...)
			if len(variants[name]) == 0 {
				t.Error("no wrong variant: add one to wrongVariants")
			}
			for _, v := range append(variants[name], refusedHere[name]...) {
				a.refuses(t, objects, v)
			}
			delete(variants, name)
		})
	}
	time.Sleep(time.Second) // so that the managed fields would have another time
	for _, obj := range applied {
		a.unchanged(t, obj)
	}
	for name := range variants {
		t.Errorf("wrongVariants has %s, of which there is no bundle", name)
	}
}

// applier applies objects to one server.
type applier struct {
	client *dynamic.DynamicClient
	found  *discovery.DiscoveryClient
	mapper meta.RESTMapper
}

func newApplier(t *testing.T, config *rest.Config) *applier {
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &applier{client: dynamicOf(t, config), found: found}
}

// applyBundle applies definitions first, and everything else once its kinds are discovered. It returns the objects.
func (a *applier) applyBundle(t *testing.T, objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	a.discover(t)
	defined, rest := split(objects)
	for _, obj := range defined {
		a.taken(t, obj)
	}
	apitest.Eventually(t, func() string {
		a.discover(t)
		return a.undiscovered(defined)
	})
	for _, obj := range rest {
		a.taken(t, obj)
	}
	return append(defined, rest...)
}

func split(objects []*unstructured.Unstructured) (defined, rest []*unstructured.Unstructured) {
	for _, obj := range objects {
		if obj.GetKind() == "CustomResourceDefinition" {
			defined = append(defined, obj)
		} else {
			rest = append(rest, obj)
		}
	}
	return defined, rest
}

func (a *applier) discover(t *testing.T) {
	groups, err := restmapper.GetAPIGroupResources(a.found)
	if err != nil {
		t.Fatal(err)
	}
	a.mapper = restmapper.NewDiscoveryRESTMapper(groups)
}

// undiscovered names a version of a definition that is to be served and is not yet.
func (a *applier) undiscovered(definitions []*unstructured.Unstructured) string {
	for _, d := range definitions {
		group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(d.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		for _, v := range versions {
			version := v.(map[string]any)
			if version["served"] != true {
				continue
			}
			if _, err := a.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind}, version["name"].(string)); err != nil {
				return err.Error()
			}
		}
	}
	return ""
}

// taken applies the object and reads it back.
func (a *applier) taken(t *testing.T, obj *unstructured.Unstructured) {
	if _, err := a.apply(t, obj); err != nil {
		t.Errorf("%s: %v", title(obj), err)
		return
	}
	got, err := a.resource(t, obj).Get(t.Context(), obj.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Errorf("%s is not read back: %v", title(obj), err)
		return
	}
	for _, lost := range lostFields(obj.Object, got.Object, "") {
		t.Errorf("%s is read back otherwise: %s", title(obj), lost)
	}
}

// reported are the kinds of which the server itself writes the status.
var reported = []string{"CustomResourceDefinition", "APIService", "FlowSchema", "PriorityLevelConfiguration"}

// unchanged applies an object that is there and demands the version that it had.
func (a *applier) unchanged(t *testing.T, obj *unstructured.Unstructured) {
	again := func() string {
		before, err := a.resource(t, obj).Get(t.Context(), obj.GetName(), metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		after, err := a.apply(t, obj)
		if err != nil {
			return err.Error()
		}
		if before.GetResourceVersion() != after.GetResourceVersion() {
			return fmt.Sprintf("was version %s, is version %s", before.GetResourceVersion(), after.GetResourceVersion())
		}
		return ""
	}
	if slices.Contains(reported, obj.GetKind()) {
		apitest.Eventually(t, again)
	} else if why := again(); why != "" {
		t.Errorf("%s applied again: %s", title(obj), why)
	}
}

// refuses demands that the bundle's object is refused with the variant's field, in its words.
func (a *applier) refuses(t *testing.T, objects []*unstructured.Unstructured, v variant) {
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind()+"/"+o.GetName() == v.object })
	if i < 0 {
		t.Errorf("the bundle has no %s", v.object)
		return
	}
	wrong := objects[i].DeepCopy()
	var value any
	if err := json.Unmarshal([]byte(v.value), &value); err != nil {
		t.Fatalf("%s %s: %v", v.object, v.field, err)
	}
	var path []string
	for _, step := range strings.Split(v.field, "/") {
		path = append(path, strings.ReplaceAll(step, "~", "/"))
	}
	set(wrong.Object, path, value)
	_, err := a.apply(t, wrong, metav1.DryRunAll)
	switch {
	case err == nil:
		t.Errorf("%s is taken with %s: %s", v.object, v.field, v.value)
	case !strings.Contains(err.Error(), v.words):
		t.Errorf("%s with %s: %s is refused in other words:\n%v\nwant: %s", v.object, v.field, v.value, err, v.words)
	}
}

func (a *applier) resource(t *testing.T, obj *unstructured.Unstructured) dynamic.ResourceInterface {
	kind := obj.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatalf("%s: %v", title(obj), err)
	}
	if namespaced := mapping.Scope.Name() == meta.RESTScopeNameNamespace; namespaced != (obj.GetNamespace() != "") {
		t.Fatalf("%s: whether it has a namespace (%q) is not as its kind demands", title(obj), obj.GetNamespace())
	}
	return a.client.Resource(mapping.Resource).Namespace(obj.GetNamespace())
}

func (a *applier) apply(t *testing.T, obj *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	return a.patch(t.Context(), a.resource(t, obj), obj, dryRun...)
}

func (a *applier) patch(ctx context.Context, to dynamic.ResourceInterface, obj *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	return to.Patch(ctx, obj.GetName(), types.ApplyYAMLPatchType, body,
		metav1.PatchOptions{FieldManager: "charts", FieldValidation: metav1.FieldValidationStrict, DryRun: dryRun})
}

func readBundle(t *testing.T, file string) (objects []*unstructured.Unstructured) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		obj := &unstructured.Unstructured{}
		err := documents.Decode(&obj.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		objects = append(objects, parse(t, mustJSON(t, obj.Object)))
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func title(obj *unstructured.Unstructured) string {
	return obj.GetKind() + " " + strings.TrimPrefix(obj.GetNamespace()+"/"+obj.GetName(), "/")
}

// lostFields says what of want is not in got; got may have more fields and, after those of want, more items:
// a pod is given the volume of its account's token.
func lostFields(want, got any, at string) (lost []string) {
	switch want := want.(type) {
	case map[string]any:
		have, _ := got.(map[string]any)
		for name, value := range want {
			lost = append(lost, lostFields(value, have[name], at+"/"+name)...)
		}
		return lost
	case []any:
		have, _ := got.([]any)
		if len(have) < len(want) {
			return []string{fmt.Sprintf("%s has %d items, want %d", at, len(have), len(want))}
		}
		for i := range want {
			lost = append(lost, lostFields(want[i], have[i], at+"/"+strconv.Itoa(i))...)
		}
		return lost
	}
	if !reflect.DeepEqual(want, got) {
		return []string{fmt.Sprintf("%s is %v, want %v", at, got, want)}
	}
	return nil
}

// set changes the field at the path, whose steps are names of fields and numbers of items.
func set(in any, path []string, value any) {
	last := len(path) == 1
	switch in := in.(type) {
	case map[string]any:
		if last {
			in[path[0]] = value
		} else {
			if in[path[0]] == nil {
				in[path[0]] = map[string]any{}
			}
			set(in[path[0]], path[1:], value)
		}
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(in) {
			panic("no item " + path[0] + " in a list")
		}
		if last {
			in[i] = value
		} else {
			set(in[i], path[1:], value)
		}
	}
}
