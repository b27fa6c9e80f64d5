// Package demos shows each promise of Fairlead as a script of the commands a person types, with what
// they print: a laboratory of two nodes, real containers, real packets. It is also their test.
//
//	make build images && go test ./demos                  (as root)
//	go test ./demos -run TestDemos/M6                     one of them
//
// The commands of the scripts are described in internal/script.
package demos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/script"
)

const (
	name = "demos"
	port = "7443" // the API server's: not the default, which a cluster on this host would hold
)

// TestDemos starts one laboratory, plays every script in it, one after the other, and takes it down. The
// scripts use the manifests of the documents they show unchanged, so two of them may claim the same
// names.
func TestDemos(t *testing.T) {
	lab := start(t)
	testscript.RunT(inOrder{t}, lab.Params("."))
}

// remains lists what the host still shows of the laboratory: whatever has its directory or its name.
func remains(t *testing.T, dir string) []string {
	t.Helper()
	lines, err := host.Trace(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.Contains(line, "down --data-dir") ||
			!strings.Contains(line, dir) && !strings.Contains(line, "fl-"+name) && !strings.Contains(line, "/fairlead/"+name)
	})
}

// start starts a laboratory of two nodes with the images of the demonstrations.
func start(t *testing.T) script.Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the laboratory needs root: it makes network namespaces and runs containers")
	}
	program, err := filepath.Abs("../bin/fairlead")
	if err != nil {
		t.Fatal(err)
	}
	if p := os.Getenv("FAIRLEAD"); p != "" {
		program = p
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	images, err := filepath.Glob("../build/images/*.tar")
	if err != nil || len(images) == 0 {
		t.Fatal("no images in build/images: run make images")
	}
	lab := script.Lab{
		Fairlead: program,
		Dir:      filepath.Join("/var/lib", fmt.Sprintf("fl-demos-%d", os.Getpid())),
		Nodes:    []string{"node1", "node2"},
	}
	home := t.TempDir()
	run := func(args ...string) error {
		cmd := exec.Command(program, append(args, "--data-dir", lab.Dir)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "KUBECONFIG=")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		t.Logf("fairlead %v\n%s", args, out.Bytes())
		return err
	}
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(lab.Dir, "server.log")); err == nil {
				t.Logf("server.log ends with\n%s", log[max(0, len(log)-3000):])
			}
		}
		if err := run("down"); err != nil {
			t.Errorf("down: %v", err)
		}
		if left := remains(t, lab.Dir); len(left) > 0 {
			t.Errorf("the laboratory is down, and the host still has\n%s", strings.Join(left, "\n"))
		}
	})
	if err := run("up", "--name", name, "--nodes", fmt.Sprint(len(lab.Nodes)), "--port", port); err != nil {
		t.Fatalf("up: %v", err)
	}
	if len(remains(t, lab.Dir)) == 0 {
		t.Fatal("the laboratory runs, and no trace of it was found: what is left could not be either")
	}
	if err := run(append([]string{"image", "import"}, images...)...); err != nil {
		t.Fatalf("image import: %v", err)
	}
	return lab
}

// inOrder runs scripts one after the other where testscript would run them all at once.
type inOrder struct{ *testing.T }

func (inOrder) Parallel() {}

func (inOrder) Verbose() bool { return testing.Verbose() }

func (t inOrder) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(inOrder{t}) })
}
