package demos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"fairlead.dev/fairlead/internal/script"
)

// The API server's port is not the default, which a cluster on this host would hold.
const (
	name = "demos"
	port = 7443
)

// TestDemos starts one laboratory, plays every script in it, one after the other, and takes it down. The
// scripts use the manifests of the documents they show unchanged, so two of them may claim the same
// names.
func TestDemos(t *testing.T) {
	var failures []string
	t.Cleanup(func() { // once more, at the end, where whoever reads a long report looks
		for _, f := range failures {
			t.Log(f)
		}
	})
	lab := start(t)
	testscript.RunT(inOrder{t, new(string), &failures}, lab.Params("."))
}

// start starts a laboratory of two nodes with the images of the demonstrations.
func start(t *testing.T) script.Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the laboratory needs root: it makes network namespaces and runs containers")
	}
	program, err := filepath.Abs("../../bin/fairlead")
	if err != nil {
		t.Fatal(err)
	}
	if p := os.Getenv("FAIRLEAD"); p != "" {
		program = p
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	images, err := filepath.Glob("../../build/images/*.tar")
	if err != nil || len(images) == 0 {
		t.Fatal("no images in build/images: run make images operator")
	}
	if !slices.Contains(images, filepath.Join("../../build/images", "greeter.tar")) {
		t.Fatal("no greeter.tar in build/images, which operator.txtar runs: run make operator")
	}
	lab := script.Lab{
		Fairlead: program, Name: name, Port: port,
		Dir:    filepath.Join("/var/lib", fmt.Sprintf("fl-demos-%d", os.Getpid())),
		Nodes:  []string{"node1", "node2"},
		Images: images, Home: t.TempDir(),
	}
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(lab.Dir, "server.log")); err == nil {
				t.Logf("server.log ends with\n%s", log[max(0, len(log)-3000):])
			}
		}
		text, err := lab.Down()
		t.Log(text)
		if err != nil {
			t.Errorf("down: %v", err)
		}
	})
	text, err := lab.Up()
	t.Log(text)
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// inOrder runs scripts one after the other where testscript would run them all at once.
type inOrder struct {
	*testing.T
	last     *string   // what this script said last
	failures *[]string // how those that failed ended
}

func (inOrder) Parallel() {}

func (inOrder) Verbose() bool { return testing.Verbose() }

func (t inOrder) Log(args ...any) {
	t.Helper()
	*t.last = fmt.Sprint(args...)
	t.T.Log(args...)
}

func (t inOrder) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(script *testing.T) {
		last := ""
		defer func() {
			if script.Failed() {
				*t.failures = append(*t.failures, script.Name()+" ended with\n"+last[max(0, len(last)-2000):])
			}
		}()
		f(inOrder{script, &last, t.failures})
	})
}
