package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

// damaged says in one sentence which of a store's files cannot be used, and what can be done.
type damaged struct {
	path, what string
	dir        string // of the whole store
	mark       string
	cause      error
}

func (d damaged) Error() string {
	text := fmt.Sprintf("store: %s %s: nothing was changed; put back a copy of %s from before, or, to begin with an empty cluster, move %s and %s away",
		d.path, d.what, d.dir, d.dir, d.mark)
	if d.cause != nil {
		text += fmt.Sprintf(" (%v)", d.cause)
	}
	return text
}

// Unwrap is what was met while reading.
func (d damaged) Unwrap() error { return d.cause }

// examine reads the files of a store that was served before, and changes none. etcd itself makes a new log where there is
// none, and waits for ever for entries that a shortened one does not have.
func (b birth) examine() error {
	database, logs := filepath.Join(b.data, "member", "snap", "db"), filepath.Join(b.data, "member", "wal")
	say := func(path, what string, cause error) error {
		return damaged{path: path, what: what, dir: b.data, mark: b.born, cause: cause}
	}
	if !exists(filepath.Join(b.data, "member")) {
		return say(b.data, "is missing, but a cluster was stored in it", nil)
	}
	if !exists(database) {
		return say(database, "is missing", nil)
	}
	if !wal.Exist(logs) {
		return say(logs, "has no write-ahead log any more", nil)
	}
	applied, err := appliedIndex(database)
	if err != nil {
		return say(database, "is damaged", err)
	}
	first, last, err := logged(logs)
	switch {
	case err != nil:
		return say(logs, "holds a damaged write-ahead log", err)
	case last < applied:
		return say(logs, fmt.Sprintf("holds a write-ahead log that ends too early, at entry %d of at least %d", last, applied), nil)
	case applied < first:
		return say(database, fmt.Sprintf("is too old for the write-ahead log: it ends at entry %d, the log begins after %d", applied, first), nil)
	}
	return nil
}

// appliedIndex is up to which entry of the log the database file holds what was written.
func appliedIndex(path string) (index uint64, err error) {
	defer recovered(&err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() { // reading beyond the end of a mapped file would kill the process
			return fmt.Errorf("it has %d bytes of at least %d", info.Size(), tx.Size())
		}
		err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			b.Stats() // looks at every page; bbolt does so as well when etcd opens the file, where its panic cannot be caught
			return nil
		})
		if err != nil {
			return err
		}
		meta := tx.Bucket([]byte("meta"))
		if meta == nil {
			return nil // of an etcd that died early: nothing of the log is in it
		}
		if value := meta.Get([]byte("consistent_index")); len(value) == 8 {
			index = binary.BigEndian.Uint64(value)
		}
		return nil
	})
	return index, err
}

// logged are the entries of the log that a start reads: those after first, up to last.
func logged(dir string) (first, last uint64, err error) {
	defer recovered(&err)
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		return 0, 0, err
	}
	from := &walpb.Snapshot{}
	if len(snapshots) > 0 {
		from = snapshots[len(snapshots)-1]
	}
	log, err := wal.OpenForRead(zap.NewNop(), dir, from)
	if err != nil {
		return 0, 0, err
	}
	defer log.Close()
	metadata, state, entries, err := log.ReadAll()
	if err != nil {
		return 0, 0, err
	}
	first = from.GetIndex()
	last = first + uint64(len(entries))
	if len(metadata) == 0 {
		return first, last, fmt.Errorf("it does not say which store it belongs to")
	}
	if state.GetCommit() > last {
		return first, last, fmt.Errorf("it ends at entry %d, and %d were committed", last, state.GetCommit())
	}
	return first, last, nil
}

// recovered makes an error of the panic by which etcd's packages report content that cannot be.
func recovered(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%v", cause)
	}
}
