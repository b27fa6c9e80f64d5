package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

func report(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tFIGURE\tBASELINE IN THE SAME RUN\tBUDGET")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.figure, r.baseline, r.budget)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n"+machine())
	return err
}

// machine says what the figures were measured on.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d cores, Linux %s, load average %s, %s", runtime.NumCPU(), strings.TrimSpace(string(kernel)), strings.Join(strings.Fields(string(load))[:3], " "), time.Now().Format("2006-01-02"))
}

const (
	begin = "<!-- figures: written by make bench -->"
	end   = "<!-- end of figures -->"
)

// writeDoc replaces the table between the two marks of a document.
func writeDoc(path string, rows []row) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks %q and %q are missing", path, begin, end)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n\nMeasured on %s.\n\n| what | figure | baseline in the same run | budget |\n|---|---|---|---|\n", head, begin, machine())
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.figure, r.baseline, r.budget)
	}
	fmt.Fprintf(&b, "\n%s%s", end, tail)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
