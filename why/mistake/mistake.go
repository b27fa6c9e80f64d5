// Package mistake is what tests of findings are about: Services that do not work, by files of testdata.
package mistake

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Mistake is one file of why's testdata: objects, what is said about them, and what becomes of the endpoints.
type Mistake struct {
	Name, Events, Endpoints string
	Objects                 []runtime.Object
}

// Read reads the mistakes in a directory.
func Read(t *testing.T, dir string) []Mistake {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	var all []Mistake
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := Mistake{Name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
		for _, f := range archive.Files {
			switch f.Name {
			case "objects.yaml":
				for doc := range strings.SplitSeq(string(f.Data), "\n---\n") {
					obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
					if err != nil {
						t.Fatalf("%s: %v in\n%s", file, err, doc)
					}
					m.Objects = append(m.Objects, obj)
				}
			case "events":
				m.Events = string(f.Data)
			case "endpoints":
				m.Endpoints = string(f.Data)
			default:
				t.Fatalf("%s: unknown section %q", file, f.Name)
			}
		}
		all = append(all, m)
	}
	return all
}
