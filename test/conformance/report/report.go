package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// test is one test of the suite and how it ended.
type test struct {
	name   string // without the suite's "[It] "
	status string // passed, failed, timedout, panicked, interrupted, skipped (also: not asked for)
	text   string // what a failure says
}

// ran tells whether the test was carried out at all.
func (t test) ran() bool { return t.status != "skipped" && t.status != "pending" }

// group is the interest group that a test's name begins with: network of [sig-network].
func (t test) group() string {
	if name, _, ok := strings.Cut(strings.TrimPrefix(t.name, "[sig-"), "]"); ok {
		return name
	}
	return "other"
}

// parse reads a report in JUnit's format.
func parse(r io.Reader) ([]test, error) {
	var file struct {
		Suites []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Status  string `xml:"status,attr"`
				Failure string `xml:"failure"`
				Error   string `xml:"error"`
				Skipped struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("not a report of tests: %w", err)
	}
	var all []test
	for _, suite := range file.Suites {
		for _, c := range suite.Cases {
			if name, ok := strings.CutPrefix(c.Name, "[It] "); ok {
				text := c.Failure + c.Error
				if c.Status == "skipped" && c.Skipped.Message != "skipped" { // by itself, not by the command line
					text = c.Skipped.Message
				}
				all = append(all, test{name, c.Status, text})
			}
		}
	}
	return all, nil
}

// conformance are the tests that Kubernetes demands of everybody, each once: of several runs of one the last that carried it out.
func conformance(runs ...[]test) []test {
	last := map[string]test{}
	for _, run := range runs {
		for _, t := range run {
			if !strings.Contains(t.name, "[Conformance]") {
				continue
			}
			if was, known := last[t.name]; !known || t.ran() || !was.ran() {
				last[t.name] = t
			}
		}
	}
	return slices.SortedFunc(maps.Values(last), func(a, b test) int { return strings.Compare(a.name, b.name) })
}

// cause is a row of the table of known causes.
type cause struct {
	tests *regexp.Regexp // of names
	why   string
}

// causes reads a table: a line each, a regular expression for names of tests, a tab, and why they fail. # begins a comment.
func causes(text string) ([]cause, error) {
	var all []cause
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		names, why, ok := strings.Cut(line, "\t")
		tests, err := regexp.Compile(names)
		if !ok || err != nil {
			return nil, fmt.Errorf("line %d: %q is not a regular expression, a tab and a cause", number, line)
		}
		all = append(all, cause{tests, why})
	}
	return all, nil
}

// why is the known cause of a failure, or the first line of what it says.
func why(t test, known []cause) string {
	for _, c := range known {
		if c.tests.MatchString(t.name) {
			return c.why
		}
	}
	return firstLine(t.text)
}

// unexplained are the tests that have failed without a known cause, as an error.
func unexplained(all []test, known []cause) error {
	var names []string
	for _, t := range all {
		explained := slices.ContainsFunc(known, func(c cause) bool { return c.tests.MatchString(t.name) })
		if t.ran() && t.status != "passed" && !explained {
			names = append(names, t.name+": "+firstLine(t.text))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%d tests failed whose cause is not known:\n%s", len(names), strings.Join(names, "\n"))
}

// noise are lines of failures that say nothing about them: time stamps, places, and the suite's own steps.
var noise = regexp.MustCompile(`^(\s*|\[?(FAILED|TIMEDOUT|PANICKED|INTERRUPTED)\]?.*(test/e2e|@).*|In \[.*|(k8s\.io|/).*\.go:\d+.*|STEP:.*|I\d{4} .*|[{}]+)$`)

// firstLine is the first line of a text that says something, cut where it becomes long.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "[FAILED]"))
		if noise.MatchString(line) {
			continue
		}
		const most = 200
		if runes := []rune(line); len(runes) > most {
			line = string(runes[:most]) + "…"
		}
		return line
	}
	return "nothing is said"
}

// document is the page about a run: a table of groups, and of what did not pass.
func document(all []test, known []cause, version string) string {
	type counts struct{ passed, failed, not, total int }
	groups := map[string]*counts{}
	sum := &counts{}
	var rest []test
	for _, t := range all {
		g := groups[t.group()]
		if g == nil {
			g = &counts{}
			groups[t.group()] = g
		}
		for _, c := range []*counts{g, sum} {
			c.total++
			switch {
			case t.status == "passed":
				c.passed++
			case t.ran():
				c.failed++
			default:
				c.not++
			}
		}
		if t.status != "passed" {
			rest = append(rest, t)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, header, version, sum.passed, sum.total)
	row := func(name string, c *counts) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", name, c.passed, c.failed, c.not, c.total)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		row(name, groups[name])
	}
	row("all", sum)
	if len(rest) == 0 {
		return b.String()
	}
	b.WriteString("\n## What did not pass\n\n| test | how it ended | cause |\n|---|---|---|\n")
	for _, t := range rest {
		status, reason := t.status, why(t, known)
		if !t.ran() && t.text == "" && reason == "nothing is said" {
			status, reason = "not run", ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(strings.TrimSuffix(t.name, " [Conformance]")), status, cell(reason))
	}
	return b.String()
}

// cell is a text as it may stand in a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "<", "&lt;")
}

const header = `# Conformance

Written by ` + "`make conformance`" + `: the tests that Kubernetes demands of everybody who calls a cluster Kubernetes, all of ` + "`[Conformance]`" + ` in upstream's own
end-to-end suite, version %s, serial and disruptive ones included, against a lab of two nodes. Causes are kept in
` + "`test/conformance/kubernetes/causes.tsv`" + `; where none is known the table has the first line of what the test says.

**%d of %d pass.**

| group | passed | failed | not run | of |
|---|---|---|---|---|
`
