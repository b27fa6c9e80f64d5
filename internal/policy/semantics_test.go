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

// semantics are the documents whose tables name the test of each rule: the letter of the rules' ids, and the ids that have
// to have a row, from and to.
var semantics = []struct {
	document, letter string
	ranges           [][2]int
}{
	{"docs/service-semantics.md", "P", [][2]int{{1, 5}, {10, 20}, {30, 58}, {60, 63}, {70, 75}, {80, 85}, {90, 95}, {100, 104}}},
	{"docs/dns.md", "N", [][2]int{{1, 18}, {30, 40}, {50, 58}}},
}

// TestSemantics: each rule about packets and names has a row, and each row names tests that exist and carry the
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
	for _, s := range semantics {
		document := text(t, root, s.document)
		rows := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^\| (`+s.letter+`\d+) \|.*\|([^|]*)\|$`).FindAllStringSubmatch(document, -1) {
			if rows[m[1]] != "" {
				t.Errorf("%s: two rows for %s", s.document, m[1])
			}
			rows[m[1]] = strings.TrimSpace(m[2])
		}
		for _, r := range s.ranges {
			for n := r[0]; n <= r[1]; n++ {
				id := fmt.Sprint(s.letter, n)
				if rows[id] == "" {
					t.Errorf("%s: no row for %s", s.document, id)
				} else if !regexp.MustCompile("`[^`]*" + id + "_[^`]*`|^by decision ").MatchString(rows[id]) {
					t.Errorf("%s: the row of %s names no test that carries its id: %s", s.document, id, rows[id])
				}
			}
		}
		namedTestsExist(t, root, s.document, document, tests)
	}
}

// namedTestsExist: what a document names as a test is one.
func namedTestsExist(t *testing.T, root, document, content string, tests map[string]bool) {
	t.Helper()
	for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(content, -1) {
		switch name := span[1]; {
		case strings.Contains(name, ".Test"), strings.HasPrefix(name, "Test"):
			if !tests[name] {
				t.Errorf("%s names %s: there is no such test", document, name)
			}
		case strings.HasSuffix(name, ".txtar"):
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}
