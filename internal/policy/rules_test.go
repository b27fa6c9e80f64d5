package policy

import (
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ruleDocuments say what each rule means that code and tests cite by a letter and a number, and where upstream says so.
var ruleDocuments = map[string]string{
	"S": "docs/service-api.md",
	"E": "docs/endpoints.md",
	"P": "docs/service-semantics.md",
	"N": "docs/dns.md",
	"R": "docs/readiness.md",
	"D": "docs/workloads.md",
	"I": "docs/ingress.md",
}

// citation is a rule, or a range of them: "S115-S117" cites all three; "N1 to N58" only says where they begin and end.
var citation = regexp.MustCompile(`\b([SEPNRDI])(\d{1,3})(?:-([SEPNRDI])(\d{1,3}))?\b`)

// cited are the rules that one text names.
func cited(text string) []string {
	var list []string
	for _, m := range citation.FindAllStringSubmatch(strings.ReplaceAll(text, "_", " "), -1) {
		from, _ := strconv.Atoi(m[2])
		to := from
		if m[3] == m[1] {
			to, _ = strconv.Atoi(m[4])
		}
		for n := from; n <= to; n++ {
			list = append(list, m[1]+strconv.Itoa(n))
		}
	}
	return list
}

// curves and sizes that look like rules.
var notRules = []string{"P224", "P256", "P384", "P521"}

// citations are all rules that Go and scripts cite, with the first place of each.
func citations(files []File) map[string]string {
	where := map[string]string{}
	note := func(at, text string) {
		for _, id := range cited(text) {
			if _, ok := where[id]; !ok && !slices.Contains(notRules, id) {
				where[id] = at
			}
		}
	}
	for _, f := range files {
		if f.AST == nil {
			if strings.HasSuffix(f.Path, ".txtar") {
				note(f.Path, f.Path[strings.LastIndex(f.Path, "/")+1:])
				note(f.Path, regexp.MustCompile(`(?m)^#.*$`).FindString(f.Text))
			}
			continue
		}
		if f.Package() == "internal/policy" {
			continue // it cites no rule: it reads of them
		}
		for _, g := range f.AST.Comments {
			note(f.At(g), g.Text())
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if f.Test() {
					note(f.At(n), strings.TrimPrefix(n.Name.Name, "Test"))
				}
			case *ast.BasicLit:
				if f.Test() && regexp.MustCompile("^[\"`][SEPNRDI]\\d{1,3}\\b").MatchString(n.Value) {
					note(f.At(n), regexp.MustCompile(`^[SEPNRDI0-9 ,-]*`).FindString(strings.Trim(n.Value, "\"`")))
				}
			}
			return true
		})
	}
	return where
}

// TestRules: each rule that is cited has one row, in its letter's document, with its meaning and its origin; and no row is
// left of a rule that nothing cites any more.
func TestRules(t *testing.T) {
	root, files := repository(t)
	where, rows := citations(files), map[string]bool{}
	for letter, document := range ruleDocuments {
		for _, m := range regexp.MustCompile(`(?m)^\| (`+letter+`\d+) \|(.*)\|$`).FindAllStringSubmatch(text(t, root, document), -1) {
			if rows[m[1]] {
				t.Errorf("%s: two rows for %s", document, m[1])
			}
			rows[m[1]] = true
			cells := strings.Split(m[2], "|")
			if len(cells) < 2 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[1]) == "" {
				t.Errorf("%s: the row of %s must have a meaning and an origin", document, m[1])
			}
			if _, ok := where[m[1]]; !ok && !strings.Contains(m[2], "by decision") {
				t.Errorf("%s: nothing cites %s", document, m[1])
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(where)) {
		if !rows[id] {
			t.Errorf("%s cites %s, which %s does not have", where[id], id, ruleDocuments[id[:1]])
		}
	}
}

// TestCited holds the reading of citations.
func TestCited(t *testing.T) {
	for text, want := range map[string]string{
		"(rules S115-S117)": "S115 S116 S117", "P13_P14_EachPolicy": "P13 P14", "E1 to E3": "E1 E3", "X509, HTTP2, AS1": "", "(S89, S130)": "S89 S130",
	} {
		if got := strings.Join(cited(text), " "); got != want {
			t.Errorf("%q cites %q, want %q", text, got, want)
		}
	}
}
