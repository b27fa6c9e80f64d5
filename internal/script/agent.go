package script

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// freeze is the command that stops a node's agent as a machine without power would: it answers nothing, and its
// heartbeats cease. What the kernel does for the node goes on.
func (s *scene) freeze(ts *testscript.TestScript, neg bool, args []string) {
	s.agents(ts, "freeze", syscall.SIGSTOP, neg, args)
	s.frozen = append(s.frozen, args...)
}

// thaw is the command that lets it go on.
func (s *scene) thaw(ts *testscript.TestScript, neg bool, args []string) {
	s.agents(ts, "thaw", syscall.SIGCONT, neg, args)
	s.frozen = slices.DeleteFunc(s.frozen, func(node string) bool { return slices.Contains(args, node) })
}

// crash is the command that kills a node's agent. The lab starts it again.
func (s *scene) crash(ts *testscript.TestScript, neg bool, args []string) {
	s.agents(ts, "crash", syscall.SIGKILL, neg, args)
}

func (s *scene) agents(ts *testscript.TestScript, command string, signal syscall.Signal, neg bool, nodes []string) {
	if neg || len(nodes) == 0 {
		ts.Fatalf("usage: %s NODE...", command)
	}
	for _, node := range nodes {
		pid, err := agent(s.lab.Dir, node)
		ts.Check(err)
		ts.Check(syscall.Kill(pid, signal))
	}
}

// warm lets every agent go on that a script has left frozen.
func (s *scene) warm() error {
	for _, node := range s.frozen {
		pid, err := agent(s.lab.Dir, node)
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return fmt.Errorf("agent of %s: %w", node, err)
		}
	}
	s.frozen = nil
	return nil
}

// agent finds the process of a lab node's agent.
func agent(dir, node string) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		args := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if len(args) > 1 && args[1] == "agent" && option(args, "--data-dir") == dir && option(args, "--node-name") == node {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no agent of %s runs in %s", node, dir)
}

// option is the value of an option in a command line, empty if it is not given.
func option(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
