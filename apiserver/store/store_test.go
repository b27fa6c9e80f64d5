package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// run starts a store over dir and returns how to stop it; it fails the test unless the store gets ready.
func run(t *testing.T, dir string) (*Store, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := New(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
		t.Logf("ready after %v", time.Since(began))
	case err := <-done:
		cancel()
		t.Fatalf("store ended before it was ready: %v", err)
	case <-time.After(20 * time.Second):
		cancel()
		t.Fatal("store not ready after 20 s")
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func client(t *testing.T, s *Store) *clientv3.Client {
	t.Helper()
	c := s.Open()
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, stop := run(t, dir)
	if _, err := client(t, s).Put(ctx, "/registry/a", "1"); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = run(t, dir)
	got, err := client(t, s).Get(ctx, "/registry/a")
	if err != nil {
		t.Fatal(err)
	}
	if got.Count != 1 || string(got.Kvs[0].Value) != "1" {
		t.Fatalf("after a restart: %v", got.Kvs)
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	run(t, dir)
	err := New(dir, slog.New(slog.DiscardHandler)).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "used by another server") {
		t.Errorf("second server on the same directory: %v", err)
	}
}

func TestDataOfANewerRelease(t *testing.T) {
	dir := t.TempDir()
	s, stop := run(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := client(t, s).Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	stop()
	for _, mark := range []struct{ bucket, key string }{{"cluster", "clusterVersion"}, {"meta", "storageVersion"}} {
		t.Run(mark.key, func(t *testing.T) {
			newer := t.TempDir()
			if err := os.CopyFS(newer, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(filepath.Join(newer, "etcd/member/snap/db"), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(mark.bucket)).Put([]byte(mark.key), []byte("3.99.0"))
			}); err != nil {
				t.Fatal(err)
			}
			db.Close()
			err = New(newer, slog.New(slog.DiscardHandler)).Run(ctx)
			if err == nil || !strings.Contains(err.Error(), "written by a newer release") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestBrokenOffFirstStart starts over what a first start left that died before it served anybody, and keeps
// every directory that was ever served.
func TestBrokenOffFirstStart(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.data, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.data, "member", "wal", "0000000000000000-0000000000000000.wal"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, stop := run(t, dir)
	if _, err := client(t, s).Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = run(t, dir)
	got, err := client(t, s).Get(ctx, "a")
	if err != nil || got.Count != 1 {
		t.Fatalf("data of a store that was served: %v, %v", got, err)
	}
}
