package cri

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Host directories that containerd 1.6 and libcni have built in: the shims' sockets and the results of CNI calls. In the mount
// namespace of our containerd each of them shows a directory of ours.
const (
	hostShims    = "/run/containerd"
	hostCNICache = "/var/lib/cni"
)

// mountMark is the attribute that tells a mount point made by Fairlead from one that belongs to the host.
const mountMark = "trusted.fairlead.mountpoint"

// ownMounts gives the calling thread a mount namespace of its own, with the host's mounts arriving but none of ours leaving,
// and binds our directories over the built-in ones. The mounts end with the last process inside.
func ownMounts(p paths) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount namespace: make / a slave: %w", err)
	}
	for target, source := range p.overHost() {
		if err := bindOver(source, target); err != nil {
			return err
		}
	}
	return nil
}

// bindOver holds the lock of the mount point, so that the Clean of another node cannot remove it in between: removing a
// directory silently detaches what other namespaces have mounted on it.
func bindOver(source, target string) error {
	for range 10 {
		if err := makeMountPoint(target); err != nil {
			return err
		}
		dir, err := lockDir(target)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed by another node's Clean: make it again
		}
		if err != nil {
			return err
		}
		err = unix.Mount(source, target, "", unix.MS_BIND, "")
		dir.Close()
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", source, target, err)
		}
		return nil
	}
	return fmt.Errorf("mount point %s vanishes as fast as it is made", target)
}

// makeMountPoint creates the directory when the host does not have it, and marks it as ours.
func makeMountPoint(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if err := unix.Setxattr(path, mountMark, []byte("1"), 0); err != nil {
		os.Remove(path)
		return fmt.Errorf("mount point %s: mark: %w", path, err)
	}
	return nil
}

// lockDir opens and locks a directory, and makes sure that the path still leads to it.
func lockDir(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held, err1 := dir.Stat()
	now, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil {
		dir.Close()
		return nil, err
	}
	if !os.SameFile(held, now) {
		dir.Close()
		return nil, os.ErrNotExist
	}
	return dir, nil
}

// removeMountPoint removes a mount point that Fairlead made, once no process has anything mounted on it.
func removeMountPoint(path string) error {
	if _, err := unix.Getxattr(path, mountMark, nil); err != nil {
		return nil // absent, or the host's own
	}
	dir, err := lockDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	used, err := mountedSomewhere(path)
	if err != nil || used {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mount point: %w", err)
	}
	return nil
}

// mountedSomewhere looks through the mount tables of all processes.
func mountedSomewhere(path string) (bool, error) {
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return false, fmt.Errorf("mount tables: %w", err)
	}
	seen := map[string]bool{}
	for _, table := range tables {
		ns, err := os.Readlink(filepath.Join(filepath.Dir(table), "ns/mnt"))
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		text, err := os.ReadFile(table)
		if err == nil && hasMount(string(text), path) {
			return true, nil
		}
	}
	return false, nil
}

// hasMount tells whether a mount table (the text of mountinfo) has a mount at exactly this path.
func hasMount(mountinfo, path string) bool {
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			return true
		}
	}
	return false
}

// InMounts runs f in the mount namespace of the running containerd. What f mounts is seen by the containers that get it from
// there and not by the host, and ends with the node's last process.
func (r *Runtime) InMounts(f func() error) error {
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	pid := r.daemon(trees)
	if pid == 0 {
		return errors.New("containerd is not running")
	}
	return onOwnThread(func() error {
		if err := joinMounts(pid); err != nil {
			return err
		}
		return f()
	})
}

// joinAny moves the calling thread into the mount namespace of the first of the processes that is a living shim. Others in
// the group (a runc at work, a daemon that is just dying) end at any moment, or have namespaces of their own. It reports
// whether there was one.
func joinAny(pids []int) (bool, error) {
	for _, pid := range pids {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || !strings.HasPrefix(string(comm), "containerd-shim") {
			continue
		}
		err = joinMounts(pid)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// joinMounts moves the calling thread into the mount namespace of a process.
func joinMounts(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return fmt.Errorf("mount namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("mount namespace of process %d: %w", pid, err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace of process %d: %w", pid, err)
	}
	return nil
}

// overlayWorks tries an overlay mount on the file system that will hold the snapshots; it fails for example on another overlay.
func overlayWorks(dir string) bool {
	trial, err := os.MkdirTemp(dir, "overlay-trial-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(trial)
	options := make([]string, 0, 3)
	for _, part := range []string{"lowerdir", "upperdir", "workdir"} {
		if os.Mkdir(filepath.Join(trial, part), 0o700) != nil {
			return false
		}
		options = append(options, part+"="+filepath.Join(trial, part))
	}
	merged := filepath.Join(trial, "merged")
	if os.Mkdir(merged, 0o700) != nil {
		return false
	}
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return err
		}
		if err := unix.Mount("overlay", merged, "overlay", 0, strings.Join(options, ",")); err != nil {
			return err
		}
		return unix.Unmount(merged, 0)
	}) == nil
}
