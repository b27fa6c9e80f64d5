package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// row is a figure beside what it is to be compared with.
type row struct {
	what, figure, baseline string
	budget                 budget
}

// budget is what the project holds a figure to. The zero budget is none.
type budget struct {
	text   string
	missed bool
}

func (b budget) String() string {
	switch {
	case b.text == "":
		return "-"
	case b.missed:
		return b.text + ": **missed**"
	}
	return b.text
}

// held is a budget in words and whether the figure keeps to it.
func held(text string, kept bool) budget { return budget{text, !kept} }

// atMost holds a duration to a limit.
func atMost(limit, got time.Duration) budget { return held("<= "+brief(limit), got <= limit) }

// within holds the median and the 99th percentile of some durations to a limit each.
func within(p50, p99 time.Duration, got []time.Duration) budget {
	half, most := quantiles(got)
	return held(fmt.Sprintf("p50 <= %s, p99 <= %s", brief(p50), brief(p99)), half <= p50 && most <= p99)
}

// results collects what the parts have measured, and what went wrong.
type results struct {
	parts map[string]*taken
	errs  []error
}

// taken is what one part has measured, in all its rounds.
type taken struct {
	rows    []row
	at      time.Time // when the first round began
	took    time.Duration
	before  []string // load average before each round
	after   string   // and after the last
	failure []string
}

func (r *results) part(name string) *taken {
	if r.parts[name] == nil {
		r.parts[name] = &taken{at: time.Now()}
	}
	return r.parts[name]
}

// take lets a part measure for as long as it may. What it has measured until it fails is kept.
func (r *results) take(ctx context.Context, name, round string, limit time.Duration, run func(context.Context) ([]row, error)) {
	if ctx.Err() != nil {
		return
	}
	progress("%s, at most %s", round, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done in %s", limit))
	defer cancel()
	t, start := r.part(name), time.Now()
	t.before = append(t.before, loadAverage())
	rows, err := run(ctx)
	t.rows = append(t.rows, rows...)
	t.took += time.Since(start)
	t.after = loadAverage()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		r.fail(name, fmt.Errorf("%s: %w", round, err))
	}
}

// fail notes that a part has not measured all it should; nothing if err is nil.
func (r *results) fail(name string, err error) {
	if err == nil {
		return
	}
	progress("%s failed: %v", name, err)
	r.errs = append(r.errs, err)
	text := strings.Join(strings.Fields(err.Error()), " ")
	r.part(name).failure = append(r.part(name).failure, text)
}

// print writes the tables for a terminal.
func (r *results) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, h := range headings() {
		head := h.title + "\nPART\tWHAT\tFIGURE\tBASELINE IN THE SAME RUN\tBUDGET\n"
		for _, name := range h.parts {
			if r.parts[name] == nil {
				continue
			}
			for _, row := range r.parts[name].rows {
				fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%s\n", head, name, row.what, row.figure, row.baseline, row.budget)
				head = ""
			}
		}
		if head == "" {
			fmt.Fprintln(t)
		}
	}
	t.Flush()
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
