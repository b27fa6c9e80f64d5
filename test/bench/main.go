// Command bench measures a whole cluster on this host, and its parts alone, and prints tables: each figure beside a
// baseline taken in the same run and the budget it is held to. It starts and removes clusters named "bench" in a network
// namespace of its own, and needs root, the built program and its images. A part that fails, or takes longer than it may,
// costs only its own figures. With -write the tables go to docs/benchmarks.md; parts that were not measured stay there as
// they are.
//
//	bench [-write] [-only NAME,...] [-sizes 10,5000,50000] [-runs 5]
package main

import (
	"context"
	"errors"
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

// options are what the command line says.
type options struct {
	write bool
	runs  int
	only  []string // parts; empty: all
	sizes []int    // numbers of Services, rising; empty: what suits each part
	pprof string   // where the measured program serves its profiles
}

func parse() (options, error) {
	var o options
	only := flag.String("only", "", "parts to measure, separated by commas: "+strings.Join(partNames(), ", "))
	sizes := flag.String("sizes", "", "numbers of Services, instead of those that suit each part, such as 10,5000,50000")
	flag.BoolVar(&o.write, "write", false, "write the tables to docs/benchmarks.md")
	flag.IntVar(&o.runs, "runs", 5, "how often each latency is measured")
	flag.StringVar(&o.pprof, "pprof", "", "where the program measured serves its profiles, such as 127.0.0.1:6060")
	flag.Parse()
	for _, name := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(partNames(), name) {
			return o, fmt.Errorf("no part is named %q; there are: %s", name, strings.Join(partNames(), ", "))
		}
		o.only = append(o.only, name)
	}
	for _, text := range strings.FieldsFunc(*sizes, func(r rune) bool { return r == ',' }) {
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

// sizesOr are the numbers of Services to measure with, usual unless the command line says otherwise.
func (o options) sizesOr(usual ...int) []int {
	if len(o.sizes) > 0 {
		return o.sizes
	}
	return usual
}

func main() {
	if child() {
		return
	}
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
	release, err := exclude()
	if err != nil {
		return err
	}
	defer release()
	if err := connectSpace(); err != nil {
		return err
	}
	began := time.Now()
	r := measure(ctx, o)
	r.print(os.Stdout)
	progress("took %s", time.Since(began).Round(time.Second))
	if o.write {
		r.fail("write", writeDoc("docs/benchmarks.md", r))
	}
	return errors.Join(r.errs...)
}

// progress tells the person who waits what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
