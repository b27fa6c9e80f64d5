package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Trusted checks that nobody but root can put something else in the place of the directory, or into it: what lies there is
// obeyed, and much of it is written, run and removed as root. What is missing yet will be made by root.
func (i Instance) Trusted() error {
	dir, err := trusted("/", i.Dir, 40)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", i.Dir, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("data directory %s: %w", i.Dir, err)
	}
	if writableByOthers(st) { // in a directory for everybody, as /tmp, others would put files of ours there
		return fmt.Errorf("data directory %s: others than root may write into it; chmod go-w it, or give another --data-dir", i.Dir)
	}
	return nil
}

// trusted follows a path from a directory on and returns where it leads, having checked each step. Symbolic links of root's
// are followed.
func trusted(from, path string, links int) (string, error) {
	at := from
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(at, name)
		var st unix.Stat_t
		if err := unix.Lstat(next, &st); err != nil {
			return "", &fs.PathError{Op: "look at", Path: next, Err: err}
		}
		link := st.Mode&unix.S_IFMT == unix.S_IFLNK
		switch {
		case st.Uid != 0 && int(st.Uid) != os.Geteuid():
			return "", fmt.Errorf("%s belongs to user %d, who could put something else in its place; choose a directory that is root's all the way, such as /var/lib/NAME", next, st.Uid)
		case link && links == 0:
			return "", fmt.Errorf("%s: too many symbolic links", next)
		case link:
			target, err := os.Readlink(next)
			if err != nil {
				return "", err
			}
			start := at
			if filepath.IsAbs(target) {
				start = "/"
			}
			if next, err = trusted(start, target, links-1); err != nil {
				return "", err
			}
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return "", fmt.Errorf("%s is not a directory", next)
		case writableByOthers(st) && st.Mode&unix.S_ISVTX == 0:
			return "", fmt.Errorf("others than root may write into %s and put something else in the place of what is there; choose a directory that is root's all the way, such as /var/lib/NAME", next)
		}
		at = next
	}
	return at, nil
}

// writableByOthers reports whether somebody besides root may write into a directory of root's.
func writableByOthers(st unix.Stat_t) bool {
	return st.Mode&unix.S_IWOTH != 0 || st.Mode&unix.S_IWGRP != 0 && st.Gid != 0
}
