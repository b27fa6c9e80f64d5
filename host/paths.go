package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/internal/durable"
)

// Dir makes the directory path and the parents it lacks, each recorded. Undo
// removes those that are empty then.
func (j *Journal) Dir(path string, mode fs.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var missing []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			break // it exists, or making the directory will say what is wrong
		}
		missing = append(missing, p)
	}
	for _, p := range slices.Backward(missing) {
		if err := j.Record(string(KindDir), p); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// File writes a file that did not exist before, or one that this journal
// made; another one is refused. Undo removes it.
func (j *Journal) File(path string, data []byte, mode fs.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := j.Record(string(KindFile), path); err != nil {
		return err
	}
	if !j.Has(KindFile, path) {
		return fmt.Errorf("write %s: it exists and is not ours: move it away", path)
	}
	return durable.WriteFile(path, data, mode)
}

func pathExists(name string) (bool, error) {
	if !filepath.IsAbs(name) {
		return false, errors.New("give an absolute path")
	}
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func undoDir(_ context.Context, e entry) (bool, error) {
	err := unix.Rmdir(e.Name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return false, errors.New("it is not empty: what is in it was not recorded, so look at it and remove it")
	}
	return err == nil, err
}

func undoFile(_ context.Context, e entry) (bool, error) {
	err := unix.Unlink(e.Name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// undoTree removes a directory with what is in it, but nothing through a
// mount point: what is mounted there may be anybody's.
func undoTree(_ context.Context, e entry) (bool, error) {
	if exists, err := pathExists(e.Name); !exists {
		return false, err
	}
	mounts, err := mountPoints()
	if err != nil {
		return false, err
	}
	for _, m := range mounts {
		if m == e.Name || strings.HasPrefix(m, e.Name+"/") {
			return false, fmt.Errorf("%s is still mounted: unmount it", m)
		}
	}
	err = os.RemoveAll(e.Name)
	return err == nil, err
}

// mountPoints lists what is mounted in this mount namespace.
func mountPoints() ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 {
			points = append(points, mountEscapes.Replace(f[4]))
		}
	}
	return points, nil
}

// mountEscapes undoes the octal escapes of /proc/self/mountinfo.
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func isMountPoint(name string) (bool, error) {
	points, err := mountPoints()
	return slices.Contains(points, name), err
}

// undoMount unmounts everything that is mounted on the point, once or several times.
func undoMount(_ context.Context, e entry) (bool, error) {
	did := false
	for {
		mounted, err := isMountPoint(e.Name)
		if err != nil || !mounted {
			return did, err
		}
		if err := unix.Unmount(e.Name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return did, fmt.Errorf("unmount: %w", err)
		}
		did = true
	}
}

// undoNetns releases a network namespace bound to a file. Links in it vanish
// when its last process does.
func undoNetns(ctx context.Context, e entry) (bool, error) {
	if _, err := undoMount(ctx, e); err != nil {
		return false, err
	}
	return undoFile(ctx, e)
}
