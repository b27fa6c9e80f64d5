package policy

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// semantics is the document whose tables name the test of each rule.
const semantics = "docs/service-semantics.md"

// ruleRanges are the ids that have to have a row: from, to.
var ruleRanges = [][2]int{{1, 5}, {10, 20}, {30, 58}, {60, 62}, {70, 75}, {80, 85}, {90, 95}, {100, 104}}

// TestSemantics: each rule about packets has a row, and each row names tests that exist and carry the
// rule's id, or says why there is none.
func TestSemantics(t *testing.T) {
	root, files := repository(t)
	tests := map[string]bool{}
	for _, f := range files {
		if f.AST == nil || !f.Test() {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") && fn.Recv == nil {
				tests[strings.TrimPrefix(f.Package()+"."+fn.Name.Name, "..")] = true
			}
		}
	}
	document := text(t, root, semantics)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (P\d+) \|.*\|([^|]*)\|$`).FindAllStringSubmatch(document, -1) {
		if rows[m[1]] != "" {
			t.Errorf("%s: two rows for %s", semantics, m[1])
		}
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	for _, r := range ruleRanges {
		for n := r[0]; n <= r[1]; n++ {
			id := fmt.Sprint("P", n)
			if rows[id] == "" {
				t.Errorf("%s: no row for %s", semantics, id)
			} else if !regexp.MustCompile("`[^`]*" + id + "_[^`]*`|^by decision ").MatchString(rows[id]) {
				t.Errorf("%s: the row of %s names no test that carries its id: %s", semantics, id, rows[id])
			}
		}
	}
	for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(document, -1) {
		switch name := span[1]; {
		case strings.Contains(name, ".Test"), strings.HasPrefix(name, "Test"):
			if !tests[name] {
				t.Errorf("%s names %s: there is no such test", semantics, name)
			}
		case strings.HasSuffix(name, ".txtar"):
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %v", semantics, err)
			}
		}
	}
}
