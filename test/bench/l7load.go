package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/host/netns"
)

// load has clients use a target for a time, and returns what it did.
func (r *rig) load(ctx context.Context, t *l7Server, c l7Case, during time.Duration) (served, error) {
	cmd, result := r.generator(ctx, t, c, during)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	before, _ := t.used()
	if err := netns.Start(r.client, cmd); err != nil {
		return served{}, fmt.Errorf("%s (setup/install bench): %w", cmd.Path, err)
	}
	half := make(chan int, 1)
	go func() {
		time.Sleep(during / 2)
		_, memory := t.used()
		half <- memory
	}()
	err := cmd.Wait()
	memory := <-half
	after, _ := t.used()
	if err != nil {
		return served{}, fmt.Errorf("%s: %w: %.500s", cmd.Path, err, out.String())
	}
	s, err := result(out.String())
	s.cpu, s.memory, s.took = after-before, memory, during
	return s, err
}

// generator is the program that makes a case's requests, and how its output is read.
func (r *rig) generator(ctx context.Context, t *l7Server, c l7Case, during time.Duration) (*exec.Cmd, func(string) (served, error)) {
	url, at := t.address(c)
	seconds := strconv.Itoa(int(during.Seconds()))
	if c.version == http2 {
		log := filepath.Join(r.dir, "requests")
		os.Remove(log)
		cmd := exec.CommandContext(ctx, "h2load", "-t1", "-c", strconv.Itoa(c.connections), "-m", strconv.Itoa(streams), "-D", seconds,
			"--log-file", log, "--connect-to", at.String(), url)
		return cmd, func(out string) (served, error) {
			lines, err := os.ReadFile(log)
			if err != nil {
				return served{}, fmt.Errorf("%w: h2load says %.500s", err, out)
			}
			return readH2load(string(lines))
		}
	}
	args := []string{"-t1", "-c" + strconv.Itoa(c.connections), "-d" + seconds + "s", "--latency", "--timeout", "10s", "-H", "Host: " + routeHost}
	if c.once {
		args = append(args, "-H", "Connection: close")
	}
	return exec.CommandContext(ctx, "wrk", append(args, strings.Replace(url, routeHost, at.String(), 1))...), readWrk
}

// readWrk reads what wrk prints.
func readWrk(out string) (s served, err error) {
	find := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if found == nil {
			err = errors.Join(err, fmt.Errorf("wrk says nothing like %q: %s", pattern, out))
			return "0"
		}
		return found[1]
	}
	duration := func(text string) []time.Duration {
		d, e := time.ParseDuration(text)
		if e != nil {
			err = errors.Join(err, e)
		}
		return []time.Duration{d}
	}
	s.requests, _ = strconv.Atoi(find(`(\d+) requests in`))
	s.p50, s.p99 = duration(find(`(?m)^\s+50%\s+(\S+)\s*$`)), duration(find(`(?m)^\s+99%\s+(\S+)\s*$`))
	if found := regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`).FindStringSubmatch(out); found != nil {
		s.failed, _ = strconv.Atoi(found[1])
	}
	if found := regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`).FindStringSubmatch(out); found != nil {
		for _, n := range found[1:] {
			n, _ := strconv.Atoi(n)
			s.failed += n
		}
	}
	return s, err
}

// readH2load reads the log of h2load: a line for each request, with the time it began, its status and how long it took, all times in
// microseconds.
func readH2load(log string) (s served, err error) {
	var took []time.Duration
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		if len(f) < 3 {
			return s, fmt.Errorf("the log of h2load has a line %q", line)
		}
		micros, err := strconv.Atoi(f[2])
		if err != nil {
			return s, fmt.Errorf("the log of h2load has a line %q: %w", line, err)
		}
		s.requests++
		if f[1] != "200" {
			s.failed++
		}
		took = append(took, time.Duration(micros)*time.Microsecond)
	}
	p50, p99 := quantiles(took)
	s.p50, s.p99 = []time.Duration{p50}, []time.Duration{p99}
	if s.requests == 0 {
		err = errors.New("h2load had no answer")
	}
	return s, err
}
