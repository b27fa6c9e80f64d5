// Package store runs the API server's etcd inside this process: one member, reached over a unix socket
// that only its owner may open, with no TCP listener at all. Every commit is fsynced, as in any etcd.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
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
	// maxSocketPath is what sockaddr_un holds on Linux, less its terminating zero (unix(7)).
	maxSocketPath = 107
)

// Store is the embedded etcd of one data directory. It keeps its files in DIR/etcd, listens on
// DIR/etcd.sock, and holds a lock on DIR/etcd.lock so that two servers never share a directory.
type Store struct {
	dir   string
	log   *slog.Logger
	ready chan struct{}
}

// New returns a store over dir; nothing is touched before Run.
func New(dir string, log *slog.Logger) *Store {
	return &Store{dir: dir, log: log, ready: make(chan struct{})}
}

// Ready is closed once the store has elected itself and answers on Endpoint.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Endpoint is the etcd client URL of the store, a unix socket.
func (s *Store) Endpoint() string { return "unix://" + s.socket() }

func (s *Store) socket() string { return filepath.Join(s.dir, "etcd.sock") }

// Run serves the store until ctx ends, then closes it in order: no new requests, then raft, then files.
// It fails when the directory is used by another server, was written by a newer release, or cannot be read.
func (s *Store) Run(ctx context.Context) error {
	unlock, err := lock(filepath.Join(s.dir, "etcd.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := listen(s.socket())
	if err != nil {
		return err
	}
	defer listener.Close()
	birth, err := begin(s.dir)
	if err != nil {
		return err
	}
	etcd, err := start(embedConfig(birth.data, s.Endpoint(), s.log))
	if err != nil {
		return err
	}
	defer etcd.Close()
	if err := elect(ctx, etcd); err != nil || ctx.Err() != nil {
		return err
	}
	if err := birth.done(); err != nil {
		return err
	}
	server := v3rpc.Server(etcd.Server, nil, nil,
		// The API server's clients ping every 30 s; without this the server drops them for pinging too often.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	close(s.ready)
	return s.wait(ctx, server, etcd, served)
}

func (s *Store) wait(ctx context.Context, server *grpc.Server, etcd *embed.Etcd, served <-chan error) error {
	defer server.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("store: serve %s: %w", s.socket(), err)
	case err := <-etcd.Err():
		return fmt.Errorf("store: etcd in %s failed: %w", s.dir, err)
	case <-etcd.Server.StopNotify():
		return fmt.Errorf("store: etcd in %s stopped by itself: look at its last log lines", s.dir)
	}
}

// embedConfig describes a single member without any listener of its own: the client socket is served by
// Run, and a single member has no peers to listen for, so its peer address is only a name.
func embedConfig(dir, endpoint string, log *slog.Logger) *embed.Config {
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	client, _ := url.Parse(endpoint)
	c := embed.NewConfig()
	c.Name = "fairlead"
	c.Dir = dir
	c.ListenPeerUrls = []url.URL{}
	c.ListenClientUrls = []url.URL{}
	c.AdvertisePeerUrls = []url.URL{peer}
	c.AdvertiseClientUrls = []url.URL{*client}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// Without peers there is nobody to send heartbeats to; each tick would only wake the process.
	c.TickMs, c.ElectionMs = heartbeat, 5*heartbeat
	c.QuotaBackendBytes = quota
	c.BackendBatchInterval = batch
	c.SnapshotCatchUpEntries = 1000 // kept in memory for slow followers; there are none
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(bridge{log: log}, zap.WithFatalHook(zapcore.WriteThenPanic)))
	return c
}

// start opens the data directory. etcd reports a directory it cannot use by panicking through its logger;
// that becomes an error here.
func start(c *embed.Config) (etcd *embed.Etcd, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			etcd, err = nil, explain(c.Dir, fmt.Errorf("%v", cause))
		}
	}()
	etcd, err = embed.StartEtcd(c)
	if err != nil {
		return nil, explain(c.Dir, err)
	}
	return etcd, nil
}

func explain(dir string, cause error) error {
	text := cause.Error()
	if strings.Contains(text, "downgrade") || strings.Contains(text, "version") && strings.Contains(text, "is not supported") {
		return fmt.Errorf("store: the data in %s was written by a newer release: run that release again, or start with an empty data directory: %w", dir, cause)
	}
	return fmt.Errorf("store: open %s: %w", dir, cause)
}

// elect waits until the member leads. Left alone, raft waits a random part of an election timeout (up to a
// second) for a leader that cannot exist; MsgTimeoutNow, raft's order to campaign at once, ends the wait
// while the ticks stay long and cheap. It returns early, without an error, when ctx ends.
func elect(ctx context.Context, etcd *embed.Etcd) error {
	self := uint64(etcd.Server.MemberID())
	nudge := time.NewTicker(time.Millisecond)
	defer nudge.Stop()
	for {
		if etcd.Server.Leader() == 0 {
			m := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self}
			if err := etcd.Server.Process(ctx, m); err != nil && ctx.Err() == nil {
				return fmt.Errorf("store: elect: %w", err)
			}
		}
		select {
		case <-etcd.Server.ReadyNotify():
			return nil
		case <-nudge.C:
		case <-ctx.Done():
			return nil
		case <-etcd.Server.StopNotify():
			return errors.New("store: etcd stopped before it became ready")
		}
	}
}

// listen binds the socket with mode 0600 from its first moment: etcd asks nobody for a password.
func listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("store: socket path %s has %d bytes, the kernel takes %d: choose a shorter data directory", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("store: remove the socket of an earlier run: %w", err)
	}
	// The mode of the socket before bind becomes the mode of the file bind makes (Linux).
	protect := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if outer := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); outer != nil {
			return outer
		}
		return err
	}}
	l, err := protect.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("store: listen on %s: %w", path, err)
	}
	return l, nil
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
