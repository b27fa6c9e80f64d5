package main

import (
	"fmt"
	"slices"
	"time"
)

// spread shows the median, the least and the greatest of some durations.
func spread(d []time.Duration) string {
	slices.Sort(d)
	return fmt.Sprintf("%s (%s-%s, n=%d)", show(median(d)), show(d[0]), show(d[len(d)-1]), len(d))
}

// percentiles shows the median and the 99th percentile of some durations.
func percentiles(d []time.Duration) string {
	p50, p99 := quantiles(d)
	return fmt.Sprintf("p50 %s, p99 %s (n=%d)", show(p50), show(p99), len(d))
}

func median(d []time.Duration) time.Duration {
	p50, _ := quantiles(d)
	return p50
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

// show writes a duration as it was measured.
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

// brief writes a limit, which is a round number.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%g ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%g us", d.Seconds()*1e6)
	}
}

// thousands writes a number with its thousands apart.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s %03d", thousands(n/1000), n%1000)
}
