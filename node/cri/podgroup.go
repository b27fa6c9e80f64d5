package cri

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SetPodGroup makes the cgroup of a pod, a name below CgroupRoot, if there is none, and bounds what all of the pod's containers have
// together. A value of 0 stays as it is.
func (r *Runtime) SetPodGroup(group string, limits *runtimeapi.LinuxContainerResources) error {
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	home := homeHierarchy(trees)
	for _, h := range trees {
		files := groupFiles(limits, h.v2)
		if h.v2 && !home.v2 || !h.v2 && !controls(h.mount, "cpu") && !controls(h.mount, "memory") {
			continue
		}
		dir := filepath.Join(h.mount, r.CgroupRoot, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup %s: %w", dir, err)
		}
		if h.v2 {
			if err := delegate(h.mount, filepath.Join(r.CgroupRoot, group)); err != nil {
				return err
			}
		}
		for _, f := range files {
			controller, _, _ := strings.Cut(f.name, ".")
			if !h.v2 && !controls(h.mount, controller) {
				continue // another tree has it
			}
			if err := writeGroup(filepath.Join(dir, f.name), f.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// controls tells whether a tree of v1 is that of a controller; some systems have two in one, as in cpu,cpuacct.
func controls(mount, controller string) bool {
	for name := range strings.SplitSeq(filepath.Base(mount), ",") {
		if name == controller {
			return true
		}
	}
	return false
}

// delegate has the groups above a group of v2, below the root's, hand the controllers on.
func delegate(mount, group string) error {
	dir := mount
	for part := range strings.SplitSeq(strings.Trim(filepath.Dir(group), "/"), "/") {
		if err := writeGroup(filepath.Join(dir, "cgroup.subtree_control"), "+cpu +memory"); err != nil {
			return err
		}
		dir = filepath.Join(dir, part)
	}
	return writeGroup(filepath.Join(dir, "cgroup.subtree_control"), "+cpu +memory")
}

// writeGroup writes to a file of a cgroup, which is there already.
func writeGroup(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	_, err = file.WriteString(value)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cgroup: %q: %w", value, err)
	}
	return nil
}

type groupFile struct{ name, value string }

// groupFiles are the files of a cgroup that bound it, with their contents, in an order in which they can be written.
func groupFiles(l *runtimeapi.LinuxContainerResources, v2 bool) []groupFile {
	var files []groupFile
	add := func(set bool, name string, value any) {
		if set {
			files = append(files, groupFile{name, fmt.Sprint(value)})
		}
	}
	if v2 {
		add(l.CpuShares > 0, "cpu.weight", 1+(max(l.CpuShares, 2)-2)*9999/262142) // runc's conversion
		add(l.CpuQuota > 0, "cpu.max", fmt.Sprintf("%d %d", l.CpuQuota, l.CpuPeriod))
		add(l.MemoryLimitInBytes > 0, "memory.max", l.MemoryLimitInBytes)
		return files
	}
	add(l.CpuShares > 0, "cpu.shares", l.CpuShares)
	add(l.CpuQuota > 0, "cpu.cfs_period_us", l.CpuPeriod)
	add(l.CpuQuota > 0, "cpu.cfs_quota_us", l.CpuQuota)
	add(l.MemoryLimitInBytes > 0, "memory.limit_in_bytes", l.MemoryLimitInBytes)
	return files
}
