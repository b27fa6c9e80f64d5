package lb

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the rows in testdata")

// TestDerive reads objects from each testdata/*.txtar and compares the rows
// they give. The names of the files begin with the rules they are about.
func TestDerive(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			node := Node{Name: "n1", Zone: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
			var objects string
			for i := range archive.Files {
				f := &archive.Files[i]
				switch f.Name {
				case "node.yaml":
					node = readNode(t, f.Data)
				case "objects.yaml":
					objects = string(f.Data)
				case "rows":
					got := "\n" + Table(derive(t, objects, node)...)
					if *update {
						f.Data = []byte(got[1:])
					} else if got != "\n"+string(f.Data) {
						t.Errorf("rows:%s\nwant:\n%s", got, f.Data)
					}
				default:
					t.Fatalf("unknown section %q", f.Name)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func readNode(t *testing.T, text []byte) Node {
	var n Node
	if err := yaml.UnmarshalStrict(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func derive(t *testing.T, objects string, node Node) []Rows {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var services []*corev1.Service
	slices := map[string][]*discoveryv1.EndpointSlice{}
	for i, doc := range strings.Split(objects, "---\n") {
		obj, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("object %d: %v", i, err)
		}
		switch o := obj.(type) {
		case *corev1.Service:
			services = append(services, o)
		case *discoveryv1.EndpointSlice:
			of := o.Labels[discoveryv1.LabelServiceName]
			slices[of] = append(slices[of], o)
		default:
			t.Fatalf("object %d is a %T", i, obj)
		}
	}
	var all []Rows
	for _, s := range services {
		all = append(all, Derive(s, slices[s.Name], node))
	}
	return all
}
