package heap

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// leastGarbage is what garbage may take, and what is not on the heap, however short memory is.
const leastGarbage = 32 << 20

// limit is how much memory the program may take when room bytes are left to it and others. An eighth of them stays with the others.
// It always has a fourth of what is in use for garbage: with less it would do little but collect, and being
// ended by the kernel is better than that.
func limit(now use, room uint64) int64 {
	return int64(min(max(now.total+room/8*7, now.live+now.live/4+leastGarbage), math.MaxInt64))
}

// headroom is how many bytes more this process may take under the limits of the host and of every control group that it is in. root
// is where the file systems are found.
func headroom(root string) uint64 {
	room := uint64(math.MaxInt64)
	if kilobytes, ok := field(filepath.Join(root, "proc/meminfo"), "MemAvailable:"); ok {
		room = kilobytes << 10
	}
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return room
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for _, v := range versions {
			if contains(controllers, v.controller) {
				room = min(room, v.room(filepath.Join(root, v.mount), path))
			}
		}
	}
	return room
}

// version is where one version of control groups keeps what it knows about memory.
type version struct {
	controller, mount string
	limits            []string
	usage             string
	files             []string // of the statistics: memory that the kernel takes back when it needs it
}

var versions = []version{
	{"", "sys/fs/cgroup", []string{"memory.max", "memory.high"}, "memory.current", []string{"inactive_file", "active_file"}},
	{"memory", "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}},
}

// room is what a group and those above it leave. In a container the file system may begin at a group further down than path says; its
// root is looked at in any case.
func (v version) room(mount, path string) uint64 {
	room := uint64(math.MaxInt64)
	for {
		room = min(room, v.left(filepath.Join(mount, path)))
		if path == "" || path == "/" || path == "." {
			return room
		}
		path = filepath.Dir(path)
	}
}

// left is what the limit of one group leaves.
func (v version) left(dir string) uint64 {
	limit := uint64(math.MaxInt64)
	for _, name := range v.limits {
		if n, ok := number(filepath.Join(dir, name)); ok {
			limit = min(limit, n)
		}
	}
	used, ok := number(filepath.Join(dir, v.usage))
	if !ok || limit == math.MaxInt64 {
		return math.MaxInt64
	}
	for _, name := range v.files {
		if n, ok := field(filepath.Join(dir, "memory.stat"), name); ok {
			used -= min(n, used)
		}
	}
	return limit - min(used, limit)
}

// number reads a file that holds a number; "max", and a file that is missing, are none.
func number(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads the number after a name that begins a line.
func field(path, name string) (uint64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseUint(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func contains(list, word string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name == word {
			return true
		}
	}
	return false
}
