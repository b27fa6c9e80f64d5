package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// trees are where the kernel counts: one tree of cgroup v2, or those of v1's controllers.
type trees struct {
	cpu, limits, memory string // mount points: processor time, its limits, memory
	unified             bool   // v2
}

// findTrees finds them in the text of /proc/self/mountinfo. A host that has both kinds counts in those of v1.
func findTrees(mountinfo string) (trees, error) {
	var v1, v2 trees
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		controllers := strings.Split(kind[2], ",")
		switch {
		case kind[0] == "cgroup2":
			v2 = trees{fields[4], fields[4], fields[4], true}
		case kind[0] == "cgroup":
			for name, at := range map[string]*string{"cpuacct": &v1.cpu, "cpu": &v1.limits, "memory": &v1.memory} {
				if slices.Contains(controllers, name) {
					*at = fields[4]
				}
			}
		}
	}
	if v1.cpu != "" && v1.memory != "" {
		return v1, nil
	}
	if v2.unified {
		return v2, nil
	}
	return trees{}, errors.New("no cgroups are mounted that count processor time and memory")
}

// count reads what has been counted of a group and those below it.
func (t trees) count(group string) (Count, error) {
	if t.unified {
		return t.countUnified(group)
	}
	dir := filepath.Join(t.memory, group)
	c := Count{}
	cpu, err := number(filepath.Join(t.cpu, group, "cpuacct.usage"))
	stat, statErr := table(filepath.Join(dir, "memory.stat"))
	usage, usageErr := number(filepath.Join(dir, "memory.usage_in_bytes"))
	if err := errors.Join(err, statErr, usageErr); err != nil {
		return c, err
	}
	c.CPU, c.Usage, c.WorkingSet = cpu, usage, less(usage, stat["total_inactive_file"])
	c.RSS, c.Cache, c.Swap = stat["total_rss"], stat["total_cache"], stat["total_swap"]
	c.Faults, c.MajorFaults = stat["total_pgfault"], stat["total_pgmajfault"]
	throttled, _ := table(filepath.Join(t.limits, group, "cpu.stat")) // of groups with a limit
	c.Periods, c.Throttled, c.ThrottledTime = throttled["nr_periods"], throttled["nr_throttled"], throttled["throttled_time"]
	return c, nil
}

func (t trees) countUnified(group string) (Count, error) {
	dir := filepath.Join(t.cpu, group)
	cpu, err := table(filepath.Join(dir, "cpu.stat"))
	stat, statErr := table(filepath.Join(dir, "memory.stat"))
	usage, usageErr := number(filepath.Join(dir, "memory.current"))
	if err := errors.Join(err, statErr, usageErr); err != nil {
		return Count{}, err
	}
	swap, _ := number(filepath.Join(dir, "memory.swap.current")) // where the kernel counts it
	const perMicrosecond = 1000
	return Count{
		CPU: cpu["usage_usec"] * perMicrosecond, Usage: usage, WorkingSet: less(usage, stat["inactive_file"]), RSS: stat["anon"], Cache: stat["file"], Swap: swap,
		Faults: stat["pgfault"], MajorFaults: stat["pgmajfault"],
		Periods: cpu["nr_periods"], Throttled: cpu["nr_throttled"], ThrottledTime: cpu["throttled_usec"] * perMicrosecond,
	}, nil
}

// countAll is what has been counted of the whole machine. The kernel counts no memory for the root of v2; what is free it says elsewhere.
func (t trees) countAll() (Count, error) {
	var cpu uint64
	var err error
	if t.unified {
		var all map[string]uint64
		all, err = table(filepath.Join(t.cpu, "cpu.stat"))
		cpu = all["usage_usec"] * 1000
	} else {
		cpu, err = number(filepath.Join(t.cpu, "cpuacct.usage"))
	}
	memory, memoryErr := table("/proc/meminfo") // in KiB
	if err := errors.Join(err, memoryErr); err != nil {
		return Count{}, err
	}
	used := less(memory["MemTotal:"], memory["MemFree:"]) << 10
	return Count{
		CPU: cpu, Usage: used, WorkingSet: less(used, memory["Inactive(file):"]<<10), RSS: memory["AnonPages:"] << 10, Cache: memory["Cached:"] << 10,
		Swap: less(memory["SwapTotal:"], memory["SwapFree:"]) << 10, Available: memory["MemAvailable:"] << 10, Total: memory["MemTotal:"] << 10,
	}, nil
}

// pid is a process of a group, 0 when it has none.
func (t trees) pid(group string) int {
	text, err := os.ReadFile(filepath.Join(t.memory, group, "cgroup.procs"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(first)
	return pid
}

// number reads a file that holds one.
func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// table reads a file of lines with a name and a number.
func table(path string) (map[string]uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) >= 2 {
			if n, err := strconv.ParseUint(words[1], 10, 64); err == nil {
				all[words[0]] = n
			}
		}
	}
	return all, nil
}

// less is a-b, and never below zero.
func less(a, b uint64) uint64 { return a - min(a, b) }
