package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func report(w io.Writer, rows []row, measured string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tFIGURE\tBASELINE IN THE SAME RUN\tBUDGET")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.figure, r.baseline, r.budget)
	}
	t.Flush()
	fmt.Fprintln(w, "\n"+measured)
}

// machine says what the figures were measured on.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores, Linux %s", runtime.NumCPU(), strings.TrimSpace(string(kernel)))
}

// loadAverage is that of the last minute: the measured cluster and the measuring itself are part of it.
func loadAverage() string {
	load, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(load), " ")
	return first
}

const (
	begin = "<!-- figures: written by make bench -->"
	end   = "<!-- end of figures -->"
)

// writeDoc replaces the table between the two marks of a document.
func writeDoc(path string, rows []row, measured string) error {
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
	fmt.Fprintf(&b, "%s%s\n\nMeasured on %s.\n\n| what | figure | baseline in the same run | budget |\n|---|---|---|---|\n", head, begin, measured)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.figure, r.baseline, r.budget)
	}
	fmt.Fprintf(&b, "\n%s%s", end, tail)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// spread shows the median, the least and the greatest of some durations.
func spread(d []time.Duration) string {
	slices.Sort(d)
	return fmt.Sprintf("%s (%s-%s, n=%d)", show(d[len(d)/2]), show(d[0]), show(d[len(d)-1]), len(d))
}

// percentiles shows the median and the 99th percentile of some durations.
func percentiles(d []time.Duration) string {
	p50, p99 := quantiles(d)
	return fmt.Sprintf("p50 %s, p99 %s (n=%d)", show(p50), show(p99), len(d))
}

// quantiles are the median and the 99th percentile of some durations, zero of none.
func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}

// pair shows the median and the 99th percentile, in short.
func pair(d []time.Duration) string {
	p50, p99 := quantiles(d)
	return show(p50) + " / " + show(p99)
}

func show(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	default:
		return fmt.Sprintf("%d us", d.Microseconds())
	}
}
