package durable

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// names are what lies in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteFileHasTheModeItWasGivenWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		path := filepath.Join(t.TempDir(), "state")
		before := unix.Umask(umask)
		err := errors.Join(WriteFile(path, []byte("one"), 0o644), WriteFile(path, []byte("two"), 0o640))
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("umask %o: %v, %v", umask, info.Mode(), err)
		}
		if text, _ := os.ReadFile(path); string(text) != "two" {
			t.Errorf("umask %o: holds %q", umask, text)
		}
		if left := names(t, filepath.Dir(path)); len(left) != 1 {
			t.Errorf("umask %o: %v", umask, left)
		}
	}
}

func TestWriteFileReplacesALinkAndDoesNotFollowIt(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "state"), filepath.Join(dir, "target")
	if err := errors.Join(os.WriteFile(target, []byte("theirs"), 0o600), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(target); string(text) != "theirs" {
		t.Errorf("the link's target now holds %q", text)
	}
}

// smallDisk mounts a file system of 16 KiB at path, that the calling goroutine alone sees.
func smallDisk(path string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", path, "tmpfs", 0, "size=16k"))
}

func TestWriteFileLeavesTheOldFileAndNothingElseOnError(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := smallDisk(full); err != nil {
		t.Fatal("this test mounts a small file system: run it as root: ", err)
	}
	t.Cleanup(func() { unix.Unmount(full, unix.MNT_DETACH) })
	path := filepath.Join(full, "state")
	if err := WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, bytes.Repeat([]byte("new"), 10_000), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("the old file now holds %d bytes", len(text))
	}
	if left := names(t, full); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	taken := filepath.Join(dir, "taken") // a directory cannot be replaced by a file
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(taken, []byte("new"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if left := names(t, dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "state"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
