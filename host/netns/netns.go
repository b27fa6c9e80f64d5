// Package netns makes network namespaces that are kept alive by a file, and runs code and programs inside
// them. The files live in the cluster's own directory, not in /run/netns: turning that directory into a mount
// point, as iproute2 does, would leave a trace on the host.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

const self = "/proc/thread-self/ns/net"

// Create makes a network namespace and binds it to the file path, so that it stays without a process in it.
// A namespace that is bound there already is kept.
func Create(path string) error {
	if Bound(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	done := make(chan error)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and its foreign namespace with it.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(self, path, "", unix.MS_BIND, "")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return errors.Join(fmt.Errorf("network namespace %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// Bound reports whether a namespace is bound to path.
func Bound(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Remove lets go of the namespace bound to path; it ends with its last process. A path that is not there
// is no error.
func Remove(path string) error {
	for Bound(path) { // a namespace may have been bound more than once
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("network namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Do runs fn on a thread inside the namespace bound to path. What fn starts in other goroutines runs outside.
func Do(path string, fn func() error) error {
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer target.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- inside(target, fn)
	}()
	return <-done
}

// inside changes the calling thread's namespace for the time of fn. The thread is given back to the
// scheduler only if it came home.
func inside(target *os.File, fn func() error) error {
	home, err := os.Open(self)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", target.Name(), err)
	}
	err = fn()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Start starts a program inside the namespace bound to path. Only the network is changed: the program keeps
// the host's mounts, which `ip netns exec` would replace and so hide the control groups.
func Start(path string, cmd *exec.Cmd) error {
	return Do(path, cmd.Start)
}
