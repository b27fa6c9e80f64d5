package store

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"golang.org/x/sys/unix"
)

const (
	// segment is the size of a file of the write-ahead log. etcd makes the next one ahead.
	segment = 16 << 20
	// ahead is how much room the database file has beyond its end. It grows by 16 MiB at a time.
	ahead = 24 << 20
	// ballast is a file that is given up when a start finds the disk full, so that etcd can make its log's next file.
	ballast = 24 << 20
	// reserve is what must be free on the disk for a write to begin: etcd ends when a write to its files fails.
	reserve = 48 << 20
)

// A process makes logs of one size.
func init() { wal.SegmentSizeBytes = segment }

// FullError says that nothing is written because the disk is nearly full.
type FullError struct {
	Dir  string
	Free int64
}

func (e FullError) Error() string {
	return fmt.Sprintf("the disk of %s has %d MiB left, and the store writes only while it has %d: make room there; what is stored can be read, Services and DNS go on, and writes are taken again by themselves",
		e.Dir, e.Free>>20, reserve>>20)
}

// room keeps etcd from ever finding the disk full. The files it writes to have their blocks beforehand, and no write of a
// client begins that could need more than is left.
type room struct {
	dir string // holds etcd's own directory

	mu       sync.Mutex
	provided int64 // up to where the database file has its blocks
}

// check says whether a write may begin, by one system call.
func (r *room) check() error {
	free, err := free(r.dir)
	if err != nil {
		return nil // who cannot ask, writes
	}
	if free < reserve {
		return FullError{Dir: r.dir, Free: free}
	}
	if r.mu.TryLock() {
		defer r.mu.Unlock()
		r.provide(free)
	}
	return nil
}

// start makes room for the start of an etcd.
func (r *room) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	left, err := free(r.dir)
	if err == nil && left < reserve {
		_ = os.Remove(r.ballast())
	}
	r.provide(left)
}

// renew says that the database file is another one.
func (r *room) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.provided = 0
}

// provide gives the database file its next blocks, and makes the ballast when there is plenty. Where a file system cannot
// do that, check alone protects the store.
func (r *room) provide(left int64) {
	database := filepath.Join(r.dir, "etcd", "member", "snap", "db")
	if info, err := os.Stat(database); err == nil && info.Size()+ahead/2 > r.provided && left > ahead {
		if allocate(database, os.O_RDWR, info.Size()+ahead) == nil {
			r.provided = info.Size() + ahead
		}
	}
	if !exists(r.ballast()) && left > reserve+2*ballast {
		if allocate(r.ballast(), os.O_RDWR|os.O_CREATE|os.O_EXCL, ballast) != nil {
			_ = os.Remove(r.ballast())
		}
	}
}

func (r *room) ballast() string { return filepath.Join(r.dir, "etcd.reserve") }

// allocate gives the file at path its blocks up to size, and leaves its length as it is.
func allocate(path string, flags int, size int64) error {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}

// free is how much can be written to the file system of dir.
func free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}
