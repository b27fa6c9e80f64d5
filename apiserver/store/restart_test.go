package store

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// victimDir, in the environment, makes this test binary a process that serves a store until it is stopped or killed.
const victimDir = "FAIRLEAD_TEST_STORE_DIR"

// TestVictim serves a store on a machine with more work than processors, and says how many keys it holds.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		return // not a test of its own: the tests below run it in a process
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the end of the standard input is the order to stop
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	for range 4 {
		go func() {
			for ctx.Err() == nil {
			}
		}()
	}
	s := New(dir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	go func() {
		select {
		case <-s.Ready():
			c := s.Open()
			defer c.Close()
			all, err := c.Get(ctx, "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Println("holds", all.Count)
		case <-ctx.Done():
		}
	}()
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		t.FailNow()
	}
}

// TestRestarts starts a store of thousands of log entries again and again, after orderly ends and after kills. A start
// replays the log on one goroutine and asks for leadership on another; no order of the two may end it.
func TestRestarts(t *testing.T) {
	const keys = 3000
	dir := t.TempDir()
	s, stop := run(t, dir)
	c := client(t, s)
	var writers sync.WaitGroup
	for w := range 30 {
		writers.Go(func() {
			for i := range keys / 30 {
				if _, err := c.Put(t.Context(), fmt.Sprintf("k%d-%d", w, i), strings.Repeat("x", 1000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	c.Close()
	stop()
	for round := range 20 {
		if out, err := restart(t, dir, round%2 == 0); err != nil || !strings.Contains(out, fmt.Sprint("holds ", keys)) {
			t.Fatalf("start %d: %v\n%s", round, err, out)
		}
	}
}

// restart runs a store in a process until it has said what it holds, then stops or kills it.
func restart(t *testing.T, dir string, kill bool) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestVictim$")
	child.Env = append(os.Environ(), victimDir+"="+dir)
	var errs strings.Builder
	child.Stderr = &errs
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := bufio.NewReader(out).ReadString('\n')
	if kill {
		_ = child.Process.Signal(syscall.SIGKILL)
	}
	in.Close()
	err = child.Wait()
	if kill && strings.HasPrefix(said, "holds") {
		err = nil // killed, as it was meant
	}
	return said + errs.String(), err
}
