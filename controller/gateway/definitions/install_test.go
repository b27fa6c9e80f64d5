package definitions_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/controller/gateway/definitions"
	"fairlead.dev/fairlead/internal/apitest"
)

// The definitions are installed once; an older one of ours is replaced; one that somebody else has installed, or that is newer,
// stays.
func TestInstall(t *testing.T) {
	config := apitest.Start(t)
	client := kubernetes.NewForConfigOrDie(config).Discovery().RESTClient()
	install := func() []definitions.Foreign {
		t.Helper()
		foreign, err := definitions.Install(t.Context(), client)
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
