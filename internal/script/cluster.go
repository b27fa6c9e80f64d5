package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"fairlead.dev/fairlead/host"
)

// Lab is the cluster that scripts talk to: nodes in network namespaces of this host.
type Lab struct {
	Fairlead string   // the program
	Name     string   // the cluster's
	Dir      string   // its data directory
	Port     int      // its API server's
	Nodes    []string // node1, node2 and so on
	Images   []string // archives that its nodes are given
	Home     string   // of whoever starts it
}

// Up starts the lab, with further flags if any are given, and imports the images. It returns what was printed.
func (l Lab) Up(flags ...string) (string, error) {
	args := []string{"up", "--name", l.Name, "--nodes", fmt.Sprint(len(l.Nodes)), "--port", fmt.Sprint(l.Port)}
	text, err := l.run(append(args, flags...)...)
	if err != nil {
		return text, err
	}
	if left, err := l.trace(); err != nil || len(left) == 0 {
		return text, errors.Join(err, errors.New("the lab runs, and no trace of it was found: what is left of it could not be either"))
	}
	imported, err := l.run(append([]string{"image", "import"}, l.Images...)...)
	return text + imported, err
}

// Down takes the lab away, and is an error if the host still has anything of it.
func (l Lab) Down() (string, error) {
	text, err := l.run("down")
	if err != nil {
		return text, err
	}
	left, err := l.trace()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("the lab is down, and the host still has\n%s", strings.Join(left, "\n"))
	}
	return text, err
}

// run runs the program on the lab's directory.
func (l Lab) run(args ...string) (string, error) {
	args = append(args, "--data-dir", l.Dir)
	cmd := exec.Command(l.Fairlead, args...)
	cmd.Env = append(os.Environ(), "HOME="+l.Home, "KUBECONFIG=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("fairlead %s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	return fmt.Sprintf("fairlead %s\n%s", strings.Join(args, " "), out.Bytes()), nil
}

// trace lists what the host shows of the lab: whatever has its directory or its name.
func (l Lab) trace() ([]string, error) {
	lines, err := host.Trace(context.Background())
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.Contains(line, "down --data-dir") ||
			!strings.Contains(line, l.Dir) && !strings.Contains(line, "fl-"+l.Name) && !strings.Contains(line, "/fairlead/"+l.Name)
	}), err
}

// cluster is the command that starts a lab of the script's own, with the flags that it is to have. Every
// program from then on means that one, until the script ends.
func (s *scene) cluster(ts *testscript.TestScript, neg bool, args []string) {
	if neg || s.shared != nil || s.before != nil {
		ts.Fatalf("usage: cluster [--nodes N] [FLAG...], once, before the snapshot")
	}
	shared := s.lab
	own := shared
	// The names begin like those of the shared one, so that what is left of either is found at the latest when that ends.
	own.Name, own.Dir, own.Port = shared.Name+"-own", shared.Dir+"-own", shared.Port+1
	if len(args) >= 2 && args[0] == "--nodes" {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		own.Nodes = make([]string, n)
		for i := range own.Nodes {
			own.Nodes[i] = fmt.Sprint("node", i+1)
		}
		args = args[2:]
	}
	s.shared, s.lab = &shared, own
	text, err := own.Up(args...)
	ts.Logf("%s", text)
	ts.Check(err)
	for name, value := range own.variables() {
		ts.Setenv(name, value)
		s.env = append(s.env, name+"="+value)
	}
}

// end takes the script's own lab away.
func (s *scene) end() error {
	if s.shared == nil {
		return nil
	}
	_, err := s.lab.Down()
	s.lab, s.shared = *s.shared, nil
	return err
}

// variables are what a script knows of a lab.
func (l Lab) variables() map[string]string {
	return map[string]string{"DATA": l.Dir, "KUBECONFIG": filepath.Join(l.Dir, "admin.kubeconfig")}
}
