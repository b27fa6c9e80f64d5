package chaos

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// document is where the counts of a run go, between its two marks.
const (
	document = "../../docs/reliability.md"
	begin    = "<!-- begin: counts -->\n"
	end      = "<!-- end: counts -->\n"
)

// table tells what happened in a run.
func (n *counts) table(r *run) string {
	var b strings.Builder
	lists := 0
	for _, w := range r.watchers {
		lists += w.lists
	}
	fmt.Fprintf(&b, "%s, seed %d: %d writers, %d kinds; %d writes acknowledged, %d refused, %d of unknown outcome (%d were ended by their client);\n",
		time.Now().UTC().Format(time.DateOnly), *seed, writers, len(kinds), n.acknowledged.Load(), n.refused.Load(), n.unknown.Load(), n.cancelled.Load())
	fmt.Fprintf(&b, "everything was checked %d times; watches had to list anew %d times. Broken promises: none.\n\n| fault | times |\n|---|---|\n", r.checks, lists-len(r.watchers))
	for _, name := range slices.Sorted(maps.Keys(r.happened)) {
		fmt.Fprintf(&b, "| %s | %d |\n", name, r.happened[name])
	}
	return b.String()
}

// write puts the table of a run into the document.
func (r *run) write() {
	r.t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		r.t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, found2 := strings.Cut(rest, end)
	if !found || !found2 {
		r.t.Fatalf("%s has no place for the counts", document)
	}
	if err := os.WriteFile(document, []byte(before+begin+r.counts.table(r)+end+after), 0o644); err != nil {
		r.t.Fatal(err)
	}
}
