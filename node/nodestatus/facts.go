package nodestatus

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// facts are measurements of the node.
type facts struct {
	cpus                        int
	memory, available           int64 // bytes
	disk, diskFree              int64
	inodes, inodesFree          int64
	pids, pidLimit              int64
	machineID, bootID, systemID string
	kernel, osImage             string
}

// Memory is the node's memory, in bytes; 0 if it cannot be read.
func Memory() int64 { return meminfo("MemTotal:") }

// meminfo reads one line of /proc/meminfo, in bytes.
func meminfo(key string) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if rest, ok := strings.CutPrefix(line, key); ok {
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// measure reads the node's facts. What cannot be read stays zero and is not judged.
func measure(dir string) facts {
	f := facts{
		cpus: runtime.NumCPU(), memory: Memory(), available: meminfo("MemAvailable:"),
		machineID: firstLine("/etc/machine-id"), bootID: firstLine("/proc/sys/kernel/random/boot_id"),
		systemID: firstLine("/sys/class/dmi/id/product_uuid"), kernel: firstLine("/proc/sys/kernel/osrelease"), osImage: osImage(),
	}
	if f.machineID == "" {
		f.machineID = strings.ReplaceAll(f.bootID, "-", "")
	}
	if f.systemID == "" {
		f.systemID = f.machineID
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		f.disk, f.diskFree = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
		f.inodes, f.inodesFree = int64(fs.Files), int64(fs.Ffree)
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		f.pids = int64(info.Procs)
	}
	fmt.Sscan(firstLine("/proc/sys/kernel/pid_max"), &f.pidLimit)
	return f
}

func osImage() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return "Linux"
}
