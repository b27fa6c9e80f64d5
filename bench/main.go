// Command bench measures a whole cluster on this host and prints one table: each figure beside a baseline taken
// in the same run and the budget it is held to. It starts and removes clusters named "bench" in a network namespace of
// its own, needs root, the built program and its images, and writes the table to docs/benchmarks.md with -write.
//
//	bench [-write] [-only NAME,...] [-sizes 10,5000,50000] [-runs 5]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// row is one line of the table.
type row struct {
	what, figure, baseline, budget string
}

// options are what the command line says.
type options struct {
	write bool
	runs  int
	only  []string // parts; empty: all
	sizes []int    // numbers of Services, rising
	pprof string   // where the measured program serves its profiles
}

func parse() (options, error) {
	var o options
	only := flag.String("only", "", "parts to measure, separated by commas: "+strings.Join(partNames(), ", "))
	sizes := flag.String("sizes", "10,5000,50000", "numbers of Services")
	flag.BoolVar(&o.write, "write", false, "write the table to docs/benchmarks.md")
	flag.IntVar(&o.runs, "runs", 5, "how often each latency is measured")
	flag.StringVar(&o.pprof, "pprof", "", "where the program measured serves its profiles, such as 127.0.0.1:6060")
	flag.Parse()
	for _, name := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(partNames(), name) {
			return o, fmt.Errorf("no part is named %q; there are: %s", name, strings.Join(partNames(), ", "))
		}
		o.only = append(o.only, name)
	}
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 || len(o.sizes) > 0 && n <= o.sizes[len(o.sizes)-1] {
			return o, fmt.Errorf("sizes %q: must be rising numbers from 2", *sizes)
		}
		o.sizes = append(o.sizes, n)
	}
	return o, nil
}

// wants reports whether a part is to be measured.
func (o options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }

func main() {
	o, err := parse()
	if err == nil && !isolated() {
		os.Exit(isolate())
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if err := connectSpace(); err != nil {
		return err
	}
	began := time.Now()
	load := loadAverage()
	rows, err := measure(ctx, o)
	text := fmt.Sprintf("%s, load average before %s, after %s, %s", machine(), load, loadAverage(), time.Now().Format("2006-01-02"))
	if len(rows) > 0 {
		report(os.Stdout, rows, text)
		fmt.Printf("took %.0f s\n", time.Since(began).Seconds())
	}
	if err == nil && o.write {
		err = writeDoc("docs/benchmarks.md", rows, text)
	}
	return err
}

// part is a group of figures that can be asked for by name. It is measured on a cluster that nothing else uses at the
// time and leaves behind what it found.
type part struct {
	name string
	run  func(*cluster, context.Context, int) ([]row, error)
}

// small are the parts that need a cluster with few objects.
func small() []part {
	return []part{
		{"answer", (*cluster).firstAnswer},
		{"change", (*cluster).propagation},
		{"idle", (*cluster).idle},
		{"more", (*cluster).morePods},
		{"rollout", (*cluster).rollout},
	}
}

func partNames() []string {
	names := []string{"start"}
	for _, p := range small() {
		names = append(names, p.name)
	}
	for _, p := range large() {
		names = append(names, p.name)
	}
	return names
}

// measure runs what is wanted, and returns what was measured until the first failure.
func measure(ctx context.Context, o options) ([]row, error) {
	var rows []row
	if o.wants("start") {
		start, err := coldStarts(ctx, o)
		if err != nil {
			return nil, err
		}
		rows = append(rows, start)
	}
	for _, stage := range []func(context.Context, options) ([]row, error){measureSmall, measureLarge} {
		more, err := stage(ctx, o)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func measureSmall(ctx context.Context, o options) (rows []row, err error) {
	if !slices.ContainsFunc(small(), func(p part) bool { return o.wants(p.name) }) {
		return nil, nil
	}
	c, err := newCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.down(context.WithoutCancel(ctx))
	for _, p := range small() {
		if !o.wants(p.name) {
			continue
		}
		progress("%s", p.name)
		more, err := p.run(c, ctx, o.runs)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// coldStarts times `up` on an empty data directory until it returns: API, node, DNS and rules answer.
func coldStarts(ctx context.Context, o options) (row, error) {
	progress("start")
	var took []time.Duration
	for range 3 {
		start := time.Now()
		c, err := newCluster(ctx, o)
		if err != nil {
			return row{}, err
		}
		took = append(took, time.Since(start)-c.imported)
		if err := c.down(ctx); err != nil {
			return row{}, err
		}
	}
	return row{"cold `up` until API, node, rules and DNS answer", spread(took), "-", "<= 2 s"}, nil
}

// progress tells the person who waits what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
