package script

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// snapshot remembers everything there is.
func (s *scene) snapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: snapshot")
	}
	var err error
	s.before, err = s.settled(ts.MkAbs("."))
	ts.Check(err)
}

// settled lists everything once two listings in a row are alike: what a cluster that has just started still brings up is not
// taken for what was left behind.
func (s *scene) settled(dir string) ([]string, error) {
	var before []string
	for end := time.Now().Add(patience); ; time.Sleep(interval) {
		now, err := s.everything(dir)
		if err != nil || slices.Equal(before, now) {
			return now, err
		}
		if before != nil && time.Now().After(end) {
			return nil, fmt.Errorf("the cluster does not come to rest within %s:\n%s", patience, strings.Join(compare(before, now), "\n"))
		}
		before = now
	}
}

// nothingLeft waits until there is what the snapshot saw, no more and no less.
func (s *scene) nothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 || s.before == nil {
		ts.Fatalf("usage: nothing-left, after a snapshot")
	}
	var difference []string
	for end := time.Now().Add(patience); ; time.Sleep(interval) {
		now, err := s.everything(ts.MkAbs("."))
		ts.Check(err)
		if difference = compare(s.before, now); len(difference) == 0 {
			s.proven = true
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	ts.Fatalf("not as it was before, %s later:\n%s", patience, strings.Join(difference, "\n"))
}

// sweep deletes the objects that a script which failed has left, so that the next one does not fail for
// its sake. After a script that proved that nothing is left there is nothing to do.
func (s *scene) sweep(dir string) {
	if s.before == nil || s.proven {
		return
	}
	now, err := s.everything(dir)
	if err != nil {
		return // the cluster is in no state to be swept
	}
	for _, line := range compare(s.before, now) {
		if f := strings.Fields(line); len(f) == 5 && f[0] == "+" && f[1] == "object" {
			args := []string{"kubectl", "delete", "--ignore-not-found", "--now", "--timeout=30s", f[2], f[4]}
			if f[3] != "<none>" {
				args = append(args, "--namespace", f[3])
			}
			s.output(dir, args...)
		}
	}
}

// everything lists the objects of the cluster, what each node's kernel holds for them, and the
// programs in pods, one a line, sorted.
func (s *scene) everything(dir string) ([]string, error) {
	kinds, err := s.output(dir, "kubectl", "api-resources", "--verbs=list", "-o", "name")
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(strings.Fields(kinds), func(kind string) bool {
		return strings.HasPrefix(kind, "events") || strings.HasPrefix(kind, "componentstatuses")
	})
	objects, err := s.output(dir, "kubectl", "get", strings.Join(names, ","), "-A", "--no-headers", "--ignore-not-found",
		"-o", "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, line := range lines(objects) {
		all = append(all, "object "+strings.Join(strings.Fields(line), " "))
	}
	for _, node := range s.lab.Nodes {
		kernel, err := s.kernel(dir, node)
		if err != nil {
			return nil, err
		}
		all = append(all, kernel...)
	}
	outsiders, err := s.outsiders(dir)
	if err != nil {
		return nil, err
	}
	all = append(all, outsiders...)
	pods, err := podPrograms(s.lab.Dir)
	if err != nil {
		return nil, err
	}
	all = append(all, pods...)
	slices.Sort(all)
	return all, nil
}

func (s *scene) output(dir string, args ...string) (string, error) {
	r := run{}
	if r.once(s, dir, args); r.err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), r.err, r.stderr)
	}
	return r.stdout, nil
}

var (
	separators = regexp.MustCompile(`[,{}\n]+`)
	block      = regexp.MustCompile(`^\s*(?:chain|map|set) (\S+) \{`)
	// lasting are blocks that say nothing of any object: chains, of which there is one for each
	// number of endpoints and way of choosing that occurred, and elements that are kept for a moment longer than
	// needed so that packets on their way arrive.
	lasting = regexp.MustCompile(`^(lb-\S+|dispatch|hairpins|affinity)$`)
)

// rules drops the lasting blocks from a listing of rules.
func rules(listing string) string {
	var kept strings.Builder
	skip := false
	for _, line := range strings.Split(listing, "\n") {
		if m := block.FindStringSubmatch(line); m != nil {
			skip = lasting.MatchString(m[1])
		} else if strings.HasPrefix(line, "table ") {
			skip = false
		}
		if !skip {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String()
}

// kernel lists a node's links, routes, and rules with the elements of their sets and maps.
func (s *scene) kernel(dir, node string) ([]string, error) {
	var list []string
	for _, what := range []struct {
		name, line string
	}{
		{"link", "ip -o link | cut -d: -f2"},
		{"address", "ip -o address | cut -c4- | sed 's/ valid_lft.*//; s/ tentative//; s/ *\\\\.*//'"},
		{"route", "ip route; ip -6 route | sed 's/ expires [0-9a-z]*//'"},
		{"rule", "nft -s list ruleset"},
	} {
		out, err := s.output(dir, "node", node, "sh", "-c", what.line)
		if err != nil {
			return nil, err
		}
		if what.name == "rule" {
			out = rules(out)
		}
		for _, part := range separators.Split(out, -1) {
			if part = strings.Join(strings.Fields(part), " "); part != "" {
				list = append(list, node+" "+what.name+" "+part)
			}
		}
	}
	return list, nil
}

// podPrograms lists the containerd shims of the cluster's nodes: one stands behind each pod.
func podPrograms(dir string) ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		args := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if strings.Contains(args[0], "containerd-shim") && strings.Contains(string(text), dir+"/") {
			list = append(list, "program "+strings.Join(args, " "))
		}
	}
	return list, nil
}

// compare lists what is in one sorted list and not in the other.
func compare(before, after []string) []string {
	count := map[string]int{}
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var difference []string
	for line, n := range count {
		if n > 0 {
			difference = append(difference, "+ "+line)
		} else if n < 0 {
			difference = append(difference, "- "+line)
		}
	}
	slices.Sort(difference)
	return difference
}
