package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	patience = time.Minute            // of a line with a star
	interval = 100 * time.Millisecond // between two tries
	longest  = 2 * time.Minute        // that one program may run
)

// Params returns what testscript needs to run the scripts of a directory against the cluster.
func (l Lab) Params(dir string) testscript.Params {
	p := testscript.Params{
		Dir: dir, RequireUniqueNames: true,
		Setup: l.setup,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){},
	}
	for name, do := range map[string]func(*scene, *testscript.TestScript, bool, []string){
		"kubectl": program("kubectl"), "fairlead": program("fairlead"), "node": program("node"),
		"curl": program("curl"), "dig": program("dig"), "sh": program("sh"), "times": program("times"),
		"on": program("on"), "outside": (*scene).outside, "start": (*scene).start, "gone": (*scene).gone, "halt": (*scene).halt,
		"freeze": (*scene).freeze, "thaw": (*scene).thaw, "crash": (*scene).crash, "cluster": (*scene).cluster,
		"let": (*scene).let, "like": check("like"), "distinct": check("distinct"), "*": (*scene).star,
		"snapshot": (*scene).snapshot, "nothing-left": (*scene).nothingLeft,
	} {
		p.Cmds[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			do(ts.Value(sceneKey{}).(*scene), ts, neg, args)
		}
	}
	return p
}

type sceneKey struct{}

// scene is one script being played.
type scene struct {
	lab      Lab
	shared   *Lab // the one of all scripts, while this one has its own
	env      []string
	last     run
	before   []string   // what the snapshot saw
	proven   bool       // that there is nothing else now
	machines []*machine // outside of the cluster
	frozen   []string   // nodes whose agents are
}

// run is a program with its arguments, and what came of it.
type run struct {
	args           []string
	fails          bool // it is meant to
	stdout, stderr string
	err            error
}

// setup gives a script its variables and a directory in which kubectl and fairlead are found.
func (l Lab) setup(e *testscript.Env) error {
	bin := filepath.Join(e.WorkDir, ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"fairlead", "kubectl"} {
		if err := os.Symlink(l.Fairlead, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	vars := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + e.WorkDir}
	for name, value := range l.variables() {
		vars = append(vars, name+"="+value)
	}
	e.Vars = append(e.Vars, vars...)
	s := &scene{lab: l, env: append(os.Environ(), vars...)}
	e.Values[sceneKey{}] = s
	e.Defer(func() {
		if err := s.cleanUp(e.WorkDir); err != nil {
			e.T().Fatal(err)
		}
	})
	return nil
}

// cleanUp makes room for the next script, whatever has become of this one.
func (s *scene) cleanUp(dir string) error {
	errs := []error{s.warm()}
	if s.shared == nil {
		s.sweep(dir)
	}
	for len(s.machines) > 0 { // of a script that failed
		errs = append(errs, s.remove(s.machines[0]))
	}
	return errors.Join(append(errs, s.end())...)
}

// argv is the command line of one of the programs.
func (s *scene) argv(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no program")
	}
	name, rest := args[0], args[1:]
	switch name {
	case "kubectl":
		return append([]string{s.lab.Fairlead, "kubectl"}, rest...), nil
	case "fairlead":
		return append([]string{s.lab.Fairlead}, rest...), nil
	case "node":
		if len(rest) < 2 {
			return nil, fmt.Errorf("usage: node NODE CMD")
		}
		return append([]string{s.lab.Fairlead, "node", "exec", "--data-dir", s.lab.Dir, rest[0], "--"}, rest[1:]...), nil
	case "on":
		if len(rest) < 2 {
			return nil, fmt.Errorf("usage: on MACHINE CMD")
		}
		return append([]string{"nsenter", "--net=" + s.namespace(rest[0])}, rest[1:]...), nil
	case "curl":
		return append([]string{"curl", "--silent", "--show-error", "--max-time", "5"}, rest...), nil
	case "dig":
		return append([]string{"dig"}, rest...), nil
	case "sh":
		return append([]string{"sh", "-c"}, rest...), nil
	}
	return nil, fmt.Errorf("%q is no program of a script", name)
}

// play runs a program and remembers it as the last one.
func (s *scene) play(dir string, fails bool, args []string) {
	s.last = run{args: args, fails: fails}
	var times int
	if args[0] != "times" {
		s.last.once(s, dir, args)
		return
	}
	if len(args) < 3 {
		s.last.err = fmt.Errorf("usage: times N PROGRAM")
		return
	}
	if _, s.last.err = fmt.Sscan(args[1], &times); s.last.err != nil {
		return
	}
	for range times {
		if s.last.once(s, dir, args[2:]); s.last.err != nil {
			return
		}
	}
}

// once runs a program and appends what it prints.
func (r *run) once(s *scene, dir string, args []string) {
	argv, err := s.argv(args)
	if err != nil {
		r.err = err
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	r.err = cmd.Run()
	if ctx.Err() != nil {
		r.err = fmt.Errorf("it ran longer than %s", longest)
	}
	r.stdout, r.stderr = r.stdout+stdout.String(), r.stderr+stderr.String()
}

// wrong says what is wrong about how the program ended, empty if nothing.
func (r *run) wrong() string {
	switch {
	case r.err == nil && r.fails:
		return "it succeeded, and should not have"
	case r.err != nil && !r.fails:
		return r.err.Error()
	}
	return ""
}

// show gives the last output to testscript's own checks.
func (s *scene) show(ts *testscript.TestScript) {
	fmt.Fprint(ts.Stdout(), s.last.stdout)
	fmt.Fprint(ts.Stderr(), s.last.stderr)
}

// program is the command that runs a program.
func program(name string) func(*scene, *testscript.TestScript, bool, []string) {
	return func(s *scene, ts *testscript.TestScript, neg bool, args []string) {
		s.play(ts.MkAbs("."), neg, append([]string{name}, args...))
		s.show(ts)
		if wrong := s.last.wrong(); wrong != "" {
			ts.Fatalf("%s: %s", strings.Join(s.last.args, " "), wrong)
		}
	}
}

// let sets a variable to what a program prints.
func (s *scene) let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: let NAME PROGRAM")
	}
	program(args[1])(s, ts, false, args[2:])
	value := strings.TrimSpace(s.last.stdout)
	ts.Setenv(args[0], value)
	s.env = append(s.env, args[0]+"="+value)
	ts.Logf("%s=%s", args[0], value)
}
