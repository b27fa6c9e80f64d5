// Command bench measures a whole cluster on this host and prints one table: each figure beside a baseline taken
// in the same run and the budget it is held to. It starts and removes clusters named "bench", needs root, the
// built program and its images, and writes the table to docs/benchmarks.md with -write.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

// row is one line of the table.
type row struct {
	what, figure, baseline, budget string
}

func main() {
	write := flag.Bool("write", false, "write the table to docs/benchmarks.md")
	runs := flag.Int("runs", 5, "how often each latency is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	rows, err := measure(ctx, *runs)
	if err == nil {
		err = report(os.Stdout, rows)
	}
	if err == nil && *write {
		err = writeDoc("docs/benchmarks.md", rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs every measurement on clusters of its own.
func measure(ctx context.Context, runs int) ([]row, error) {
	start, err := coldStarts(ctx, 3)
	if err != nil {
		return nil, err
	}
	rows := []row{start}
	c, err := newCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer c.down(context.WithoutCancel(ctx))
	for _, step := range []func(context.Context, int) ([]row, error){c.firstAnswer, c.propagation, c.idle, c.morePods} {
		more, err := step(ctx, runs)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// coldStarts times `up` on an empty data directory until it returns: API, node, DNS and rules answer.
func coldStarts(ctx context.Context, runs int) (row, error) {
	var took []time.Duration
	for range runs {
		start := time.Now()
		c, err := newCluster(ctx)
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

// spread shows the median, the least and the greatest of some durations.
func spread(d []time.Duration) string {
	slices.Sort(d)
	return fmt.Sprintf("%s (%s-%s, n=%d)", show(d[len(d)/2]), show(d[0]), show(d[len(d)-1]), len(d))
}

// percentiles shows the median and the 99th percentile of some durations.
func percentiles(d []time.Duration) string {
	slices.Sort(d)
	return fmt.Sprintf("p50 %s, p99 %s (n=%d)", show(d[len(d)/2]), show(d[(len(d)*99)/100]), len(d))
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
