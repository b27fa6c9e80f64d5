package ingress

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// documented is the table of docs/ingress.md.
func documented() string {
	var b strings.Builder
	b.WriteString("| annotation | here | how |\n|---|---|---|\n")
	for _, r := range Rows() {
		note := r.Note
		if r.Guard {
			note = strings.TrimPrefix(note+" (guards)", " ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Name, r.Level, note)
	}
	return b.String()
}

// TestDocumentedAnnotations: docs/ingress.md has the table of the annotations as they are.
func TestDocumentedAnnotations(t *testing.T) {
	text, err := os.ReadFile("../../../docs/ingress.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := documented(); !strings.Contains(string(text), "\n"+want) {
		t.Errorf("docs/ingress.md has another table. It is to be\n%s", want)
	}
}
