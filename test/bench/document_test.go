package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryPartIsUnderOneHeading(t *testing.T) {
	want := []string{"create"} // growing is measured by itself
	for _, p := range alone() {
		want = append(want, p.name)
	}
	for _, p := range small() {
		want = append(want, p.name)
	}
	for _, p := range large() {
		want = append(want, p.name)
	}
	got := partNames()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("headings have %v, there are %v", got, want)
	}
}

// What was measured replaces its rows; what was not stays; what other text the document has is not touched.
func TestDocumentKeepsWhatWasNotMeasured(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("above\n"+begin+"\nan old table\n"+end+"\nbelow\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(name, figure string, failure ...string) {
		t.Helper()
		r := &results{parts: map[string]*taken{name: {
			rows: []row{{name + " takes", figure, "-", held("<= 1 s", false)}}, before: []string{"0.1"}, after: "0.2", took: time.Second, failure: failure}}}
		if err := writeDoc(path, r); err != nil {
			t.Fatal(err)
		}
	}
	write("answer", "7 s")
	write("start", "5 s", "a|b")
	write("answer", "6 s")
	write("idle", "1 %")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"above\n", "below\n", "| start | start takes | 5 s | - | <= 1 s: **missed** |\n| answer | answer takes | 6 s |",
		"| idle | idle takes | 1 % |", "### At rest\n", "| 0.1; 0.2 | 1 s | a\\|b |\n"} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("%q is not there once", want)
		}
	}
	for _, no := range []string{"7 s", "an old table", "### Connections"} {
		if strings.Contains(string(text), no) {
			t.Errorf("%q is there", no)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

// A part that fails keeps the rows it has, and those after it are measured.
func TestFailureCostsOnlyItsOwnFigures(t *testing.T) {
	r := &results{parts: map[string]*taken{}}
	broken := errors.New("broken")
	r.take(t.Context(), "hops", "hops at 10", time.Minute, func(context.Context) ([]row, error) { return []row{{what: "half"}}, broken })
	r.take(t.Context(), "flap", "flap", time.Millisecond, func(ctx context.Context) ([]row, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r.take(t.Context(), "path", "path", time.Minute, func(context.Context) ([]row, error) { return []row{{what: "whole"}}, nil })
	if len(r.parts["hops"].rows) != 1 || len(r.parts["path"].rows) != 1 {
		t.Errorf("rows are lost: %+v", r.parts)
	}
	if err := errors.Join(r.errs...); !errors.Is(err, broken) || !strings.Contains(err.Error(), "flap: not done in 1ms") {
		t.Errorf("got error %v", err)
	}
}
