package gateway

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedFeatures: docs/gateway.md says of each feature that is claimed what it is, in order, and of no other; and the kinds
// among them have rows in the table of kinds.
func TestDocumentedFeatures(t *testing.T) {
	text, err := os.ReadFile("../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	column := func(head string) (cells []string) {
		_, table, _ := strings.Cut(string(text), "\n"+head+"\n")
		for line := range strings.Lines(table) {
			cell, _, is := strings.Cut(strings.TrimPrefix(line, "| "), " |")
			if !strings.HasPrefix(line, "|") {
				break
			}
			if is && !strings.HasPrefix(line, "|---") {
				cells = append(cells, cell)
			}
		}
		return cells
	}
	var want []string
	for _, f := range Features() {
		want = append(want, string(f.Name))
	}
	if got := column("| feature | what it is |"); !slices.Equal(got, want) {
		t.Errorf("the table of features has\n%s\nand claimed are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	kinds := strings.Join(column("| kind | what is served | test |"), ", ")
	for _, name := range want {
		if regexp.MustCompile(`^(Gateway|ListenerSet|[A-Z]+Route|BackendTLSPolicy|ReferenceGrant)$`).MatchString(name) && !strings.Contains(kinds, name) {
			t.Errorf("the table of kinds has no %s: %s", name, kinds)
		}
	}
}
