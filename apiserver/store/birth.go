package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// birth guards the first start of a store. An etcd that dies between creating its log and writing itself
// into it as the first member can never elect a leader again, and says nothing about it. A mark on disk
// from before the first start until just before the first client is served tells such a remainder apart:
// nobody was ever promised anything in it, so it is thrown away.
type birth struct {
	dir  string // holds the mark
	data string // etcd's own directory
	mark string // path of the mark; "" when the store was born earlier
}

// begin prepares the data directory of the store in dir for a start.
func begin(dir string) (birth, error) {
	b := birth{dir: dir, data: filepath.Join(dir, "etcd"), mark: filepath.Join(dir, "etcd.unborn")}
	if exists(b.mark) {
		if err := os.RemoveAll(b.data); err != nil {
			return birth{}, fmt.Errorf("store: remove what a broken off first start left: %w", err)
		}
	}
	if exists(filepath.Join(b.data, "member")) {
		b.mark = ""
		return b, nil
	}
	if err := os.WriteFile(b.mark, nil, 0o600); err != nil {
		return birth{}, fmt.Errorf("store: first start: %w", err)
	}
	if err := os.MkdirAll(b.data, 0o700); err != nil {
		return birth{}, fmt.Errorf("store: data directory: %w", err)
	}
	return b, syncDir(dir)
}

// done takes the mark away, durably: were it to come back after a power cut, it would cost the data.
func (b birth) done() error {
	if b.mark == "" {
		return nil
	}
	if err := os.Remove(b.mark); err != nil {
		return fmt.Errorf("store: first start: %w", err)
	}
	return syncDir(b.dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// syncDir makes the names in a directory as durable as they look.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: sync: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("store: sync %s: %w", path, err)
	}
	return nil
}
