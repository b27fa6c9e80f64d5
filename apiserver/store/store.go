// Package store runs the API server's etcd inside this process: one member that listens nowhere and is called
// directly. Every commit is fsynced, as in any etcd.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// quota bounds the database file; etcd raises an alarm and refuses writes beyond it.
	quota = 4 << 30
	// batch is how often what the log already holds is written into the database file as well. Each time no other
	// write gets on until the disk has answered, so the tenth of a second that is etcd's default delays every tenth
	// write of a steady load. What a crash leaves out of the file is replayed from the log.
	batch = time.Second
	// heartbeat is raft's tick in milliseconds.
	heartbeat = 500
	// grace bounds how long the end of an etcd is waited for that cannot go on.
	grace = 2 * time.Second
)

// Store is the embedded etcd of one data directory. It keeps its files in DIR/etcd, and holds a lock on
// DIR/etcd.lock so that two servers never share a directory.
type Store struct {
	dir   string
	log   *slog.Logger
	ready chan struct{}
	etcd  *embed.Etcd // set before ready is closed
	room  room
	quota int64 // bounds the database file
}

// New returns a store over dir; nothing is touched before Run.
func New(dir string, log *slog.Logger) *Store {
	return &Store{dir: dir, log: log, ready: make(chan struct{}), room: room{dir: dir}, quota: quota}
}

// Ready is closed once the store has elected itself and answers.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Room says whether a write may begin: it fails with a FullError while the disk is nearly full.
func (s *Store) Room() error { return s.room.check() }

// Open returns a client that calls the store directly. Nothing is encoded and nothing goes through the kernel, so what the
// client reads may be shared with the store and must not be changed. It may be called once Ready is closed; the caller closes
// the client before Run ends.
func (s *Store) Open() *clientv3.Client { return v3client.New(s.etcd.Server) }

// Run serves the store until ctx ends, then closes it in order: no new requests, then raft, then files.
// It fails when the directory is used by another server, was written by a newer release, or cannot be read.
func (s *Store) Run(ctx context.Context) error {
	unlock, err := lock(filepath.Join(s.dir, "etcd.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	birth, err := begin(s.dir)
	if err != nil {
		return err
	}
	fate := newFate()
	etcd, err := s.lead(ctx, birth.data, fate)
	if etcd != nil {
		defer end(etcd, fate)
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	if err := birth.done(); err != nil {
		return err
	}
	s.etcd = etcd
	close(s.ready)
	select {
	case <-ctx.Done():
		return nil
	case <-fate.sealed:
		return fmt.Errorf("store: etcd in %s cannot go on: %w", birth.data, fate.err)
	case err := <-etcd.Err():
		return fmt.Errorf("store: etcd in %s failed: %w", birth.data, err)
	case <-etcd.Server.StopNotify():
		return fmt.Errorf("store: etcd in %s stopped by itself: look at its last log lines", birth.data)
	}
}

// end closes etcd in order. One that cannot go on may have lost the goroutine that its end waits for.
func end(etcd *embed.Etcd, fate *fate) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		etcd.Close()
	}()
	select {
	case <-ended:
	case <-fate.sealed:
		select {
		case <-ended:
		case <-time.After(grace):
		}
	}
}

// lead starts etcd over dir and waits until it leads. What it returns is to be closed, also after an error.
func (s *Store) lead(ctx context.Context, dir string, fate *fate) (*embed.Etcd, error) {
	starting.Lock()
	defer starting.Unlock()
	s.room.start()
	etcd, err := start(embedConfig(dir, s.quota, s.log, fate), fate)
	if err != nil {
		return nil, err
	}
	return etcd, elect(ctx, etcd, fate)
}

// embedConfig describes a single member without any listener: it is called directly and has no peers, so its addresses are
// only names.
func embedConfig(dir string, limit int64, log *slog.Logger, fate *fate) *embed.Config {
	nowhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Name = "fairlead"
	c.Dir = dir
	c.ListenPeerUrls = []url.URL{}
	c.ListenClientUrls = []url.URL{}
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = nowhere, nowhere
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// Without peers there is nobody to send heartbeats to; each tick would only wake the process.
	c.TickMs, c.ElectionMs = heartbeat, 5*heartbeat
	c.QuotaBackendBytes = limit
	c.BackendBatchInterval = batch
	c.MaxTxnOps = 1 << 14         // a Service is written in one transaction with each of its ports
	c.SnapshotCatchUpEntries = 10 // kept in memory for slow followers, of whom there are none; 0 would mean 5000
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(bridge{log: log}, zap.WithFatalHook(fate), zap.WithPanicHook(fate)))
	return c
}

// start opens the data directory. etcd reports a directory it cannot use by an error, by a panic, or by its logger, which
// ends the goroutine.
func start(c *embed.Config, fate *fate) (*embed.Etcd, error) {
	var etcd *embed.Etcd
	opened := make(chan error, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				fate.seal(fmt.Errorf("%v", cause))
			}
		}()
		var err error
		etcd, err = embed.StartEtcd(c)
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			return nil, explain(c.Dir, err)
		}
		return etcd, nil
	case <-fate.sealed:
		return nil, explain(c.Dir, fate.err)
	}
}

func explain(dir string, cause error) error {
	text := cause.Error()
	if strings.Contains(text, "downgrade") || strings.Contains(text, "version") && strings.Contains(text, "is not supported") {
		return fmt.Errorf("store: the data in %s was written by a newer release: run that release again, or start with an empty data directory: %w", dir, cause)
	}
	return fmt.Errorf("store: open %s: %w", dir, cause)
}

// lock takes the directory for this process; the kernel gives it back when the process dies in any way.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store: data directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: %s is used by another server: stop it or choose another data directory: %w", filepath.Dir(path), err)
	}
	return func() { f.Close() }, nil
}
