package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	begin = "<!-- figures: written by make bench -->"
	end   = "<!-- end of figures -->"
)

// writeDoc replaces the tables between the two marks of a document.
func writeDoc(path string, r *results) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks %q and %q are missing", path, begin, end)
	}
	return os.WriteFile(path, []byte(head+begin+"\n\n"+r.tables(old, machine())+end+tail), 0o644)
}

// tables are the results in markdown. Those of parts that were not measured are taken from what the document has so far.
func (r *results) tables(old, machine string) string {
	var b strings.Builder
	for _, h := range headings() {
		head := "### " + h.title + "\n\n| part | what | figure | baseline in the same run | budget |\n|---|---|---|---|---|\n"
		lines := r.lines(old, h.title, h.parts, (*taken).figures)
		if len(lines) > 0 {
			b.WriteString(head + strings.Join(lines, "") + "\n")
		}
	}
	const title = "The runs"
	lines := r.lines(old, title, partNames(), func(t *taken, name string) []string { return t.run(name, machine) })
	b.WriteString("### " + title + "\n\n| part | when, and on what | load average before each round, and after | took | failed |\n|---|---|---|---|---|\n")
	b.WriteString(strings.Join(lines, "") + "\n")
	return b.String()
}

// lines are those of some parts in one table: new ones if the part was measured, otherwise the old ones.
func (r *results) lines(old, title string, parts []string, render func(*taken, string) []string) []string {
	_, table, _ := strings.Cut(old, "### "+title+"\n")
	table, _, _ = strings.Cut(table, "### ")
	var lines []string
	for _, name := range parts {
		if t := r.parts[name]; t != nil {
			lines = append(lines, render(t, name)...)
			continue
		}
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, "| "+name+" |") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func (t *taken) figures(name string) []string {
	var lines []string
	for _, r := range t.rows {
		lines = append(lines, tableLine(name, r.what, r.figure, r.baseline, r.budget.String()))
	}
	return lines
}

func (t *taken) run(name, machine string) []string {
	failed := strings.Join(t.failure, "; ")
	if failed == "" {
		failed = "-"
	}
	return []string{tableLine(name, t.at.UTC().Format("2006-01-02 15:04 UTC")+", "+machine,
		strings.Join(t.before, ", ")+"; "+t.after, brief(t.took.Round(100*time.Millisecond)), failed)}
}

func tableLine(cells ...string) string {
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}
