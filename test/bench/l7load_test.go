package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadWrk(t *testing.T) {
	const out = `Running 2s test @ http://10.78.1.1:8001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.42ms    7.12ms  84.31ms   88.99%
    Req/Sec    28.51k     5.11k   36.10k    70.50%
  Latency Distribution
     50%    1.80ms
     75%    3.91ms
     90%   12.01ms
     99%   10.50s 
  56741 requests in 2.00s, 9.58MB read
`
	want := served{requests: 56741, p50: []time.Duration{1800 * time.Microsecond}, p99: []time.Duration{10500 * time.Millisecond}}
	got, err := readWrk(out)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	want.failed = 1 + 2 + 3 + 4 + 17
	got, err = readWrk(out + "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 17\n")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := readWrk("unable to connect\n"); err == nil || !strings.Contains(err.Error(), "unable to connect") {
		t.Errorf("what is no report gives error %v", err)
	}
}

func TestReadH2load(t *testing.T) {
	got, err := readH2load("1790000000000000\t200\t100\n1790000000000007\t200\t300\n1790000000000009\t503\t200\n")
	want := served{requests: 3, failed: 1, p50: []time.Duration{200 * time.Microsecond}, p99: []time.Duration{300 * time.Microsecond}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, log := range []string{"", "1 200\n", "1\t200\tsoon\n"} {
		if _, err := readH2load(log); err == nil {
			t.Errorf("%q is read without an error", log)
		}
	}
}

// Rounds add up to one figure: rates and processor time over all of them, latencies as the median of the rounds.
func TestServedRounds(t *testing.T) {
	ms := func(n int) []time.Duration { return []time.Duration{time.Duration(n) * time.Millisecond} }
	var s served
	for _, round := range []served{
		{requests: 1000, took: time.Second, cpu: 20 * time.Millisecond, p50: ms(1), p99: ms(9), memory: 5},
		{requests: 3000, took: time.Second, cpu: 60 * time.Millisecond, p50: ms(3), p99: ms(30), memory: 7},
		{requests: 2000, took: 2 * time.Second, cpu: 40 * time.Millisecond, p50: ms(2), p99: ms(20), memory: 6, failed: 4},
	} {
		s.add(round)
	}
	if got, want := s.String(), "1 500/s, 20.0 us each, p50 2.0 ms, p99 20.0 ms, 4 failed"; got != want || s.memory != 7 {
		t.Errorf("got %q and %d bytes, want %q and 7", got, s.memory, want)
	}
}

// The engine is held to HAProxy's processor time, and a failed request misses as well.
func TestL7Budget(t *testing.T) {
	took := func(us, failed int) *served {
		return &served{requests: 1000, failed: failed, cpu: time.Duration(us) * time.Millisecond}
	}
	for _, c := range []struct {
		ours, haproxy *served
		missed        bool
	}{{took(20, 0), took(20, 0), false}, {took(21, 0), took(20, 0), true}, {took(10, 1), took(20, 0), true}} {
		all := turns{engineName: c.ours, haproxyName: c.haproxy, nginxName: took(1, 0)}
		r := all.row("x")
		if r.budget.missed != c.missed {
			t.Errorf("%v beside HAProxy's %v: %s", c.ours, c.haproxy, r.budget)
		}
		if strings.Contains(r.baseline, engineName) || strings.Index(r.baseline, haproxyName) > strings.Index(r.baseline, nginxName) {
			t.Errorf("baseline %q", r.baseline)
		}
	}
}
