package definitions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/controller/gateway/definitions"
	"fairlead.dev/fairlead/internal/apitest"
)

// The definitions are installed once; an older one of ours is replaced; one that somebody else has installed, or that is newer,
// stays.
func TestInstall(t *testing.T) {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	config := server.ClientConfig()
	client := kubernetes.NewForConfigOrDie(config).Discovery().RESTClient()
	install := func() []definitions.Foreign {
		t.Helper()
		foreign, err := definitions.Install(t.Context(), client, server.Preset)
		if err != nil {
			t.Fatal(err)
		}
		return foreign
	}
	crds := dynamic.NewForConfigOrDie(config).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	annotate := func(name, annotations string) {
		t.Helper()
		patch := []byte(`{"metadata": {"annotations": {` + annotations + `}}}`)
		if _, err := crds.Patch(t.Context(), name+".gateway.networking.k8s.io", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	version := func(name string) string {
		t.Helper()
		d, err := crds.Get(t.Context(), name+".gateway.networking.k8s.io", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.GetAnnotations()["gateway.networking.k8s.io/bundle-version"]
	}
	if foreign := install(); len(foreign) != 0 || version("httproutes") != definitions.Version {
		t.Fatalf("foreign %v, version %s", foreign, version("httproutes"))
	}
	annotate("httproutes", `"gateway.networking.k8s.io/bundle-version": "v1.5.0"`)
	annotate("gateways", `"gateway.networking.k8s.io/bundle-version": "v1.9.0"`)
	annotate("grpcroutes", `"gateway.networking.k8s.io/bundle-version": "v1.5.0", "fairlead.dev/installed": null`)
	annotate("tlsroutes", `"gateway.networking.k8s.io/channel": "experimental"`)
	foreign := install()
	for name, want := range map[string]string{"httproutes": definitions.Version, "gateways": "v1.9.0", "grpcroutes": "v1.5.0", "udproutes": definitions.Version} {
		if got := version(name); got != want {
			t.Errorf("%s has version %s, want %s", name, got, want)
		}
	}
	if len(foreign) != 2 || foreign[0].Version != "v1.5.0" || foreign[1].Channel != "experimental" {
		t.Errorf("foreign are %+v, want grpcroutes and tlsroutes", foreign)
	}
}

// What is stored without validation is what the API server makes of the definitions, which it accepts, and establishes as soon.
func TestAccepted(t *testing.T) {
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	all := func(install func(*apiserver.Server, dynamic.Interface) func(context.Context, []byte) error) map[string]map[string]any {
		server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
		client := dynamic.NewForConfigOrDie(server.ClientConfig())
		if _, err := definitions.Install(t.Context(), kubernetes.NewForConfigOrDie(server.ClientConfig()).Discovery().RESTClient(), install(server, client)); err != nil {
			t.Fatal(err)
		}
		found := map[string]map[string]any{}
		apitest.Eventually(t, func() string {
			list, err := client.Resource(crds).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return err.Error()
			}
			for _, d := range list.Items {
				conditions, _, _ := unstructured.NestedSlice(d.Object, "status", "conditions")
				if len(conditions) != 3 || strings.Contains(fmt.Sprint(conditions), "reason:Installing") {
					return fmt.Sprintf("%s has the conditions %v", d.GetName(), conditions)
				}
				for _, c := range conditions {
					delete(c.(map[string]any), "lastTransitionTime")
				}
				slices.SortFunc(conditions, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				status := d.Object["status"].(map[string]any)
				status["conditions"] = conditions
				found[d.GetName()] = map[string]any{"spec": d.Object["spec"], "status": status, "annotations": d.GetAnnotations(), "generation": d.GetGeneration()}
			}
			return ""
		})
		return found
	}
	preset := all(func(server *apiserver.Server, _ dynamic.Interface) func(context.Context, []byte) error {
		return server.Preset
	})
	validated := all(func(_ *apiserver.Server, client dynamic.Interface) func(context.Context, []byte) error {
		return func(ctx context.Context, definition []byte) error {
			d := &unstructured.Unstructured{}
			if err := json.Unmarshal(definition, d); err != nil {
				return err
			}
			_, err := client.Resource(crds).Create(ctx, d, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			return err
		}
	})
	if len(preset) < 10 {
		t.Fatalf("there are %d definitions", len(preset))
	}
	for name, want := range validated {
		if got := preset[name]; !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("%s is stored as\n%v\nand would be\n%v", name, got["status"], want["status"])
		}
	}
}

// The file is what the module's definitions come to.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	generate := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-o", dir+"/generate", "./generate")
	if out, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), dir+"/generate", dir)
	run.Dir = here
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"standard.json.gz", "LICENSE"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what go generate makes: %v", name, err)
		}
	}
}
