package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead.dev/fairlead/internal/durable"
)

// birth tells a store that was never served from one that was. An etcd that dies between creating its log and writing
// itself into it as the first member can never elect a leader again, and says nothing about it: nobody was ever promised
// anything in it, so such a remainder is thrown away. In place of one that was served nothing is ever made anew.
//
// Two marks beside etcd's own directory say which it is: etcd.unborn is there from before the first start until just before
// the first client is served, etcd.born from then on.
type birth struct {
	dir    string // holds the marks
	data   string // etcd's own directory
	unborn string
	born   string
}

// begin prepares the data directory of the store in dir for a start.
func begin(dir string) (birth, error) {
	b := birth{dir: dir, data: filepath.Join(dir, "etcd"), unborn: filepath.Join(dir, "etcd.unborn"), born: filepath.Join(dir, "etcd.born")}
	if exists(b.unborn) && !exists(b.born) {
		if err := os.RemoveAll(b.data); err != nil {
			return b, fmt.Errorf("store: remove what a broken off first start left: %w", err)
		}
	}
	if exists(b.born) || exists(filepath.Join(b.data, "member")) { // an earlier release made no mark
		return b, b.examine()
	}
	if err := durable.WriteFile(b.unborn, nil, 0o600); err != nil {
		return b, fmt.Errorf("store: first start: %w", err)
	}
	if err := os.MkdirAll(b.data, 0o700); err != nil {
		return b, fmt.Errorf("store: data directory: %w", err)
	}
	return b, durable.SyncDir(dir)
}

// done marks the store as one that is served, durably and before the other mark goes: were that to come back alone after a
// power cut, it would cost the data.
func (b birth) done() error {
	if !exists(b.born) {
		if err := durable.WriteFile(b.born, []byte("A cluster is stored in etcd beside this file. It is not made anew while this file is here.\n"), 0o600); err != nil {
			return fmt.Errorf("store: first start: %w", err)
		}
	}
	if !exists(b.unborn) {
		return nil
	}
	if err := os.Remove(b.unborn); err != nil {
		return fmt.Errorf("store: first start: %w", err)
	}
	return durable.SyncDir(b.dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
