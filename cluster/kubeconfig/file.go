package kubeconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/internal/durable"
)

const (
	// lockTimeout bounds the wait for another program that changes the same file. kubectl does not wait at all.
	lockTimeout = 5 * time.Second
	// lockMark is what our own lock files hold; kubectl's are empty.
	lockMark = "fairlead\n"
	// maxFile bounds what is read as a kubeconfig.
	maxFile = 16 << 20
)

// lock keeps kubectl and others of this program from changing a kubeconfig. kubectl's lock is that the file FILE.lock
// exists. Those of this program also lock the directory, so that whoever holds it knows that a lock file of ours which is
// still there was left by one that was killed.
func lock(path string) (unlock func(), err error) {
	dir, err := os.OpenFile(filepath.Dir(path), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	name := path + ".lock"
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(10 * time.Millisecond) {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if left, _ := readFile(name); string(left) == lockMark {
				os.Remove(name)
			}
			if err = markLock(name); err == nil {
				return func() { os.Remove(name); dir.Close() }, nil
			}
			unix.Flock(int(dir.Fd()), unix.LOCK_UN)
		}
		busy := errors.Is(err, fs.ErrExist) || errors.Is(err, unix.EWOULDBLOCK)
		if busy && time.Now().Before(deadline) {
			continue
		}
		dir.Close()
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s exists: a program is changing the file, or one that was killed has left it; if none is, remove it and try again", name)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
}

// markLock makes the lock file, whole or not at all.
func markLock(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(lockMark)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name)
	}
	return err
}

// readFile reads a regular file. Anything else that may stand there is refused and not waited for.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a file of at most %d MiB", path, maxFile>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// writeFile replaces a kubeconfig at once and keeps its mode. A symbolic link stays one: users keep such files elsewhere.
func writeFile(path, text string) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, dangling := os.Readlink(path); dangling == nil {
			return fmt.Errorf("%s is a symbolic link to nothing", path)
		}
		return durable.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	return durable.WriteFile(target, []byte(text), info.Mode().Perm())
}

// makeDirs makes a directory and the parents it lacks, and tells which it made, the outermost first.
func makeDirs(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append([]string{d}, made...)
	}
	return made, os.MkdirAll(dir, 0o750)
}
