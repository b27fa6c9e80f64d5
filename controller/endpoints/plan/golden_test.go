package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what the plans give into testdata")

// TestGolden shows whole objects: in each file of testdata, "in.yaml" is a Service with its pods and
// nodes, or with Endpoints written by hand, and "want.yaml" is everything that the plans create.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 || archive.Files[0].Name != "in.yaml" || archive.Files[1].Name != "want.yaml" {
				t.Fatal("want the files in.yaml and want.yaml")
			}
			got := created(t, archive.Files[0].Data)
			if *update {
				archive.Files[1].Data = got
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := archive.Files[1].Data; !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s\n(go test -run TestGolden -update writes it)", got, want)
			}
		})
	}
}

// created plans for the one Service in a YAML stream and prints what is created.
func created(t *testing.T, in []byte) []byte {
	t.Helper()
	var svc *corev1.Service
	var pods []*corev1.Pod
	var hand *corev1.Endpoints
	nodes := map[string]*corev1.Node{}
	for text := range strings.SplitSeq(string(in), "\n---\n") {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(text), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch obj := obj.(type) {
		case *corev1.Service:
			svc = obj
		case *corev1.Pod:
			pods = append(pods, obj)
		case *corev1.Node:
			nodes[obj.Name] = obj
		case *corev1.Endpoints:
			hand = obj
		default:
			t.Fatalf("nothing to do with a %T", obj)
		}
	}
	var out []runtime.Object
	var slices []*discoveryv1.EndpointSlice
	if hand != nil {
		plan, _ := Mirror(hand, svc, nil)
		slices = plan.Create
	} else {
		out = append(out, Endpoints(svc, pods, nil))
		plan, _ := Slices(svc, pods, nodes, nil)
		slices = plan.Create
	}
	for _, slice := range slices {
		out = append(out, slice)
	}
	return printYAML(t, out)
}

// printYAML writes objects as one YAML stream.
func printYAML(t *testing.T, objs []runtime.Object) []byte {
	t.Helper()
	var texts [][]byte
	for _, obj := range objs {
		kinds, _, err := scheme.Scheme.ObjectKinds(obj)
		if err != nil {
			t.Fatal(err)
		}
		obj.GetObjectKind().SetGroupVersionKind(kinds[0])
		text, err := yaml.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return bytes.Join(texts, []byte("---\n"))
}
