package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// tool is a program that is used, and the Debian package that has it.
type tool struct {
	command, flag string // flag prints the version
	pkg           string
	oldest        [2]int // the oldest version that works; zero: any
	newest        int    // the newest major version that is known to work; zero: any
	optional      string // what does without it; empty: it is needed
}

var tools = []tool{
	{command: "containerd", flag: "--version", pkg: "containerd", oldest: [2]int{1, 6}, newest: 2}, // tests run 1.6 and 2.4
	{command: "containerd-shim-runc-v2", flag: "-v", pkg: "containerd"},
	{command: "runc", flag: "--version", pkg: "runc", oldest: [2]int{1, 0}},
	{command: "nft", flag: "--version", pkg: "nftables", optional: "the rules are written without it, but nothing shows them to you"},
}

// versionForm finds the first version number in what a program prints.
var versionForm = regexp.MustCompile(`\bv?(\d+)\.(\d+)[0-9A-Za-z.+~-]*`)

func checkTools(ctx context.Context, _ Requirements) []Finding {
	found := make([]Finding, len(tools))
	var wg sync.WaitGroup
	for i, t := range tools {
		wg.Go(func() { found[i] = t.check(ctx) })
	}
	wg.Wait()
	return found
}

func (t tool) check(ctx context.Context) Finding {
	file, err := exec.LookPath(t.command)
	if err != nil {
		if t.optional != "" {
			return warn(t.command, "not found in PATH: %s; on Debian, 'apt-get install %s'", t.optional, t.pkg)
		}
		return fail(t.command, "not found in PATH: install it, on Debian with 'apt-get install %s'", t.pkg)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, file, t.flag).CombinedOutput()
	if err != nil {
		return fail(t.command, "%s does not run: %v: install it anew, on Debian with 'apt-get install --reinstall %s'", file, err, t.pkg)
	}
	return t.judge(file, string(out))
}

// judge compares the version a program prints with the oldest that works.
func (t tool) judge(file, printed string) Finding {
	version := versionForm.FindStringSubmatch(printed)
	if version == nil {
		return warn(t.command, "%s does not tell its version", file)
	}
	var v [2]int
	if _, err := fmt.Sscan(version[1]+" "+version[2], &v[0], &v[1]); err != nil {
		return warn(t.command, "%s has a version that cannot be read: %s", file, version[0])
	}
	if v[0] < t.oldest[0] || v[0] == t.oldest[0] && v[1] < t.oldest[1] {
		return fail(t.command, "%s is version %s: it must be %d.%d or newer", file, version[0], t.oldest[0], t.oldest[1])
	}
	if t.newest != 0 && v[0] > t.newest {
		return warn(t.command, "%s is version %s, which nobody has tried: known to work are %d.%d to %d.x; if pods do not start, install one of these",
			file, version[0], t.oldest[0], t.oldest[1], t.newest)
	}
	return pass(t.command, "%s %s (Debian package %s)", file, strings.TrimPrefix(version[0], "v"), t.pkg)
}

// pluginDirs are where distributions put CNI plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

func checkPlugins(_ context.Context, req Requirements) []Finding {
	return []Finding{findPlugins(pluginDirs, req.IPv6)}
}

// findPlugins looks for one directory that has every plugin: containerd is given one.
func findPlugins(dirs []string, six bool) Finding {
	const name = "CNI plugins"
	needed := []string{"ptp", "host-local", "loopback"}
	if six {
		needed = append(needed, "tuning")
	}
	best := needed // missing from the fullest directory
	for _, dir := range dirs {
		var missing []string
		for _, plugin := range needed {
			if info, err := os.Stat(filepath.Join(dir, plugin)); err != nil || info.Mode()&0o111 == 0 {
				missing = append(missing, plugin)
			}
		}
		if missing == nil {
			return pass(name, "%s in %s (Debian package containernetworking-plugins)", strings.Join(needed, ", "), dir)
		}
		if len(missing) < len(best) {
			best = missing
		}
	}
	return fail(name, "no %s in %s: install them, on Debian with 'apt-get install containernetworking-plugins'", strings.Join(best, ", "), strings.Join(dirs, " or "))
}
