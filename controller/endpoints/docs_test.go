package endpoints

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocsNameEveryRule: docs/endpoints.md has each rule, each with at least one test that exists, and no test is missing there.
func TestDocsNameEveryRule(t *testing.T) {
	text, err := os.ReadFile("../../docs/endpoints.md")
	if err != nil {
		t.Fatal(err)
	}
	exist := ruleTests(t)
	named := map[string]bool{}
	rows := map[int]int{} // rule -> tests
	for _, row := range regexp.MustCompile(`(?m)^\| E(\d+) \|.*$`).FindAllStringSubmatch(string(text), -1) {
		rule, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`(TestE"+row[1]+`_\w+)`+"`").FindAllStringSubmatch(row[0], -1) {
			named[name[1]] = true
			rows[rule]++
		}
	}
	for _, of := range [][2]int{{1, 16}, {20, 39}, {50, 72}, {80, 87}, {90, 95}, {100, 110}} {
		for rule := of[0]; rule <= of[1]; rule++ {
			if rows[rule] == 0 {
				t.Errorf("rule E%d has no test in docs/endpoints.md", rule)
			}
		}
	}
	for name := range named {
		if !slices.Contains(exist, name) {
			t.Errorf("docs/endpoints.md names %s, which is not there", name)
		}
	}
	for _, name := range exist {
		if !named[name] {
			t.Errorf("docs/endpoints.md does not name %s", name)
		}
	}
}

// ruleTests are the names of the tests of rules with the letter E in the whole repository.
func ruleTests(t *testing.T) []string {
	t.Helper()
	var names []string
	begins := regexp.MustCompile(`(?m)^func (TestE\d+_\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range begins.FindAllStringSubmatch(string(text), -1) {
			names = append(names, found[1])
		}
		return nil
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("no tests found: %v", err)
	}
	return names
}
