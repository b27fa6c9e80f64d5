package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Trace lists what this host looks like to someone who searches for remains
// of a program: nftables rules; links, addresses, routes and routing rules;
// network namespaces; mounts; cgroups; settings below net.*; the command lines
// of processes; and the files where programs leave things. Each line stands
// for itself; they are sorted. What changes by itself (counters, timers,
// caches, the neighbours on the network) is left out, and so are the
// processes of the Go tool, which a test runs beside it.
//
// Compare two listings with Diff. Network, mounts and settings are those that
// the calling thread sees.
func Trace(ctx context.Context) ([]string, error) {
	var lines []string
	for _, part := range []func(context.Context) ([]string, error){
		traceNftables, traceNetwork, traceNetns, traceMounts, traceCgroups, traceSysctls, traceProcesses, traceFiles,
	} {
		more, err := part(ctx)
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		lines = append(lines, more...)
	}
	slices.Sort(lines)
	return lines, nil
}

// Diff compares two listings: a line that is only in after begins with "+ ",
// one that is only in before with "- ". A line that is there twice counts
// twice. The settings of a link that came or went are not told one by one.
func Diff(before, after []string) []string {
	count := map[string]int{}
	for _, l := range after {
		count[l]++
	}
	for _, l := range before {
		count[l]--
	}
	var out []string
	links := map[string]bool{} // those that came or went
	for line, n := range count {
		if name, ok := strings.CutPrefix(line, "link "); ok && n != 0 {
			name, _, _ = strings.Cut(name, ":")
			links[name] = true
		}
	}
	for line, n := range count {
		if links[linkOfSysctl(line)] {
			continue
		}
		for ; n > 0; n-- {
			out = append(out, "+ "+line)
		}
		for ; n < 0; n++ {
			out = append(out, "- "+line)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(a[2:]+a[:2], b[2:]+b[:2]) })
	return out
}

// linkOfSysctl is LINK for the line "sysctl net/FAMILY/conf/LINK/... = ...", else empty.
func linkOfSysctl(line string) string {
	key, ok := strings.CutPrefix(line, "sysctl net/ipv")
	if f := strings.Split(key, "/"); ok && len(f) == 4 && (f[1] == "conf" || f[1] == "neigh") {
		return f[2]
	}
	return ""
}

// output runs a program in this thread's namespaces.
func output(ctx context.Context, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// expiry is the time an element, an address or a route has left.
var expiry = regexp.MustCompile(` (expires|valid_lft|preferred_lft) \S+`)

// traceNftables puts the blocks that a line is in before it.
func traceNftables(ctx context.Context) ([]string, error) {
	text, err := output(ctx, "nft", "--stateless", "list", "ruleset")
	return nftLines(text), err
}

func nftLines(ruleset string) []string {
	var lines, within []string
	for line := range strings.Lines(ruleset) {
		line = expiry.ReplaceAllString(strings.TrimSpace(line), "")
		switch {
		case line == "":
		case line == "}":
			within = within[:max(0, len(within)-1)]
		case strings.HasSuffix(line, " {") && !strings.Contains(line, "= {"):
			within = append(within, strings.TrimSuffix(line, " {"))
			lines = append(lines, "nft "+strings.Join(within, " "))
		default:
			lines = append(lines, "nft "+strings.Join(append(slices.Clone(within), line), " "))
		}
	}
	return lines
}

// linkNoise is what `ip -o` shows of indexes and of the state that comes and
// goes; linkBreaks are its marks of folded lines.
var (
	linkNoise  = regexp.MustCompile(`^\d+: |,LOWER_UP|,NO-CARRIER|NO-CARRIER,| state \S+|@if\d+| tentative| dadfailed`)
	linkBreaks = regexp.MustCompile(`\\ +`)
)

func traceNetwork(ctx context.Context) ([]string, error) {
	var lines []string
	for _, what := range []struct {
		prefix string
		args   []string
	}{
		{"link", []string{"-o", "link", "show"}},
		{"address", []string{"-o", "address", "show"}},
		{"route", []string{"-4", "route", "show", "table", "all"}},
		{"route6", []string{"-6", "route", "show", "table", "all"}},
		{"rule", []string{"-4", "rule", "show"}},
		{"rule6", []string{"-6", "rule", "show"}},
	} {
		text, err := output(ctx, "ip", what.args...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			line = expiry.ReplaceAllString(strings.TrimSpace(line), "")
			if what.prefix == "link" || what.prefix == "address" {
				line = linkBreaks.ReplaceAllString(linkNoise.ReplaceAllString(line, ""), " ")
			}
			lines = append(lines, what.prefix+" "+strings.Join(strings.Fields(line), " "))
		}
	}
	return lines, nil
}

// traceNetns lists the named network namespaces; those bound elsewhere are among the mounts.
func traceNetns(context.Context) ([]string, error) {
	var lines []string
	for _, dir := range []string{"/run/netns", "/var/run/docker/netns"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			lines = append(lines, "netns "+path.Join(dir, e.Name()))
		}
	}
	return lines, nil
}

func traceMounts(context.Context) ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	var lines []string
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) < 6 || len(kind) < 2 {
			return nil, fmt.Errorf("mountinfo: line %q cannot be read", line)
		}
		root := f[3]
		if kind[0] == "nsfs" {
			root = "(a namespace)" // its number is another each time
		}
		lines = append(lines, fmt.Sprintf("mount %s %s %s %s %s", f[4], kind[0], kind[1], root, f[5]))
	}
	return lines, err
}

func traceCgroups(context.Context) ([]string, error) {
	roots, err := hierarchies()
	var lines []string
	for _, root := range roots {
		err = errors.Join(err, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				lines = append(lines, "cgroup "+p)
			}
			return ignore(err, fs.ErrNotExist) // one that ends just now
		}))
	}
	return lines, err
}

// sysctlNoise are settings below net.* that are counters or answers, not settings.
var sysctlNoise = []string{"nf_conntrack_count", "flush", "netdev_rss_key"}

func traceSysctls(context.Context) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(procSys+"/net", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(sysctlNoise, d.Name()) {
			return ignore(err, fs.ErrNotExist)
		}
		data, err := os.ReadFile(p)
		if err == nil { // some can only be written, or have no value yet
			value := strings.Join(strings.Fields(string(data)), " ")
			lines = append(lines, fmt.Sprintf("sysctl %s = %s", strings.TrimPrefix(p, procSys+"/"), value))
		}
		return nil
	})
	return lines, err
}

// goTool recognises what the Go tool runs: itself, compilers, linkers, and test programs.
var goTool = regexp.MustCompile(`^(\S*/)?go (build|vet|test|run|list|tool|env) |/pkg/tool/|/go-build\d*/`)

func traceProcesses(context.Context) ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	var lines []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || len(data) == 0 {
			continue // it has ended, or is a thread of the kernel
		}
		line := strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " ")
		if !goTool.MatchString(line) {
			lines = append(lines, "process "+line)
		}
	}
	return lines, err
}
