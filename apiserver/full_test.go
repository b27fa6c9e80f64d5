package apiserver_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

// smallDisk, in the environment, makes this test binary a process in a mount namespace of its own.
const smallDisk = "FAIRLEAD_TEST_SMALL_DISK"

// TestFullDisk runs TestOnASmallDisk where it may mount one.
func TestFullDisk(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOnASmallDisk$", "-test.v", "-test.timeout=5m")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestOnASmallDisk fills the disk of a running server to the last byte. Writes are refused in words, reads go on, nothing
// ends, and writes are taken again when there is room.
func TestOnASmallDisk(t *testing.T) {
	dir := os.Getenv(smallDisk)
	if dir == "" {
		return // not a test of its own: TestFullDisk runs it in a process
	}
	if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m")); err != nil {
		t.Fatal(err)
	}
	cfg := apitest.Config(t, dir)
	server, stop := apitest.Run(t, cfg)
	maps := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default")
	write := func(name string) error {
		_, err := maps.Create(t.Context(), configMap(name), metav1.CreateOptions{})
		return err
	}
	for i := range 50 {
		if err := write(fmt.Sprint("before", i)); err != nil {
			t.Fatal(err)
		}
	}
	full := filepath.Join(dir, "somebody-else's")
	for round := range 3 {
		if err := fillUp(full); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(3 * time.Second) // etcd commits once a second, also what it has begun before
		for time.Now().Before(end) {
			var status apierrors.APIStatus
			if err := write(fmt.Sprint("full", round)); !errors.As(err, &status) || status.Status().Code != http.StatusInsufficientStorage || !strings.Contains(err.Error(), "make room") {
				t.Fatalf("on a full disk: %v", err)
			}
			if _, err := maps.Get(t.Context(), "before7", metav1.GetOptions{}); err != nil {
				t.Fatalf("reading on a full disk: %v", err)
			}
		}
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if err := write(fmt.Sprintf("after%d-%d", round, i)); err != nil {
				t.Fatalf("after a full disk: %v", err)
			}
		}
	}
	stop()
	if err := fillUp(full); err != nil { // a start on a full disk
		t.Fatal(err)
	}
	server, _ = apitest.Run(t, cfg)
	maps = clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default")
	if _, err := maps.Get(t.Context(), "after2-49", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if err := write("last"); err != nil {
		t.Error(err)
	}
}

// fillUp makes a file of all that is left of its disk.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return err
		}
	}
	return nil
}
