package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestDatabaseAtItsLimit fills the database with old revisions until etcd refuses writes. Reclaiming them lets writes in
// again; reclaiming while the objects themselves are too large does not, until some are deleted.
func TestDatabaseAtItsLimit(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := New(t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.quota = 12 << 20
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	c := client(t, s)
	bounded, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	value := strings.Repeat("x", 512<<10)
	fill := func(key func(i int) string) {
		for i := range 200 {
			if _, err := c.Put(bounded, key(i), value); AtLimit(err) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			s.etcd.Server.Backend().ForceCommit() // etcd compares with the size of the last commit
		}
		t.Fatal("100 MiB were taken in a database of 12 MiB")
	}
	fill(func(int) string { return "same" })
	if err := s.Reclaim(bounded); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(bounded, "same", value); err != nil {
		t.Error(err)
	}
	var err error
	for round := 0; err == nil && round < 20; round++ { // each round leaves less that can be reclaimed
		fill(func(i int) string { return fmt.Sprint("own", round, "-", i) })
		err = s.Reclaim(bounded)
	}
	if err == nil || !strings.Contains(err.Error(), "delete some") {
		t.Error(err)
	}
	if _, err := c.Delete(bounded, "own", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(bounded); err != nil {
		t.Error(err)
	}
	if _, err := c.Put(bounded, "same", value); err != nil {
		t.Error(err)
	}
}

// smallDisk, in the environment, makes this test binary a process in a mount namespace of its own.
const smallDisk = "FAIRLEAD_TEST_SMALL_DISK"

// TestUnguarded writes past Room on a full disk, as a file system may that lies about what is free. etcd cannot go on; the
// store says why, and the process goes on.
func TestUnguarded(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		unguarded(t, dir)
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUnguarded$", "-test.v", "-test.timeout=2m")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func unguarded(t *testing.T, dir string) {
	if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=80m")); err != nil {
		t.Fatal(err)
	}
	s := New(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	c := s.Open()        // not closed: its end would wait for an etcd that is gone
	for i := range 300 { // 75 MB, beside the log's files of 16
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Put(ctx, fmt.Sprint(i), strings.Repeat("x", 256<<10))
		cancel()
		if err != nil {
			break
		}
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "cannot go on") {
			t.Errorf("ended with: %v", err)
		}
		t.Log(err)
	case <-time.After(30 * time.Second):
		t.Error("the store goes on")
	}
}
