// Package nfttest holds what the nft command lists against what is meant to be in the kernel.
package nfttest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/internal/netlab"
)

// Compare holds a table's text, in nft's own language, against what nft lists of it, and has nft read the text. The order of elements and
// blocks does not count, nor do counters, sizes and times.
func Compare(t testing.TB, ns *netlab.Netns, family, table, text string) {
	t.Helper()
	out, err := ns.Command("nft", "list", "table", family, table)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, want := normal(out), normal(text)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("nft lists  %s\nthe plan is %s", got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("nft lists %d lines, the plan has %d", len(got), len(want))
	}
	file := filepath.Join(t.TempDir(), "plan.nft")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := ns.Command("unshare", "--net", "nft", "-c", "-f", file); err != nil {
		t.Errorf("nft does not read the plan: %v: %.1000s", err, out)
	}
}

var (
	unlisted = regexp.MustCompile(`(?m)^\s*(size \d+|flags owner.*|counter)$|\s*counter packets \d+ bytes \d+|\s*expires \S+| # progname \S+`)
	listed   = regexp.MustCompile(`(?s)elements = \{ (.*?) \}\n`)
	oneEach  = regexp.MustCompile(`(?:[^",]|"[^"]*")+`)
)

// normal is a listing without what the plan cannot know, an element a line, in blocks by name.
func normal(listing string) []string {
	listing = unlisted.ReplaceAllString(listing, "")
	listing = listed.ReplaceAllStringFunc(listing, func(all string) string {
		var each []string
		for _, e := range oneEach.FindAllString(listed.FindStringSubmatch(all)[1], -1) {
			each = append(each, strings.Join(strings.Fields(e), " "))
		}
		slices.Sort(each)
		return strings.Join(each, "\n") + "\n"
	})
	var blocks []string
	for _, b := range regexp.MustCompile(`(?s)\t(map|set|chain) .*?\n\t\}`).FindAllString(listing, -1) {
		var lines []string
		for line := range strings.Lines(b) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				lines = append(lines, line)
			}
		}
		blocks = append(blocks, strings.Join(lines, "\n"))
	}
	slices.Sort(blocks)
	return strings.Split(strings.Join(blocks, "\n"), "\n")
}
