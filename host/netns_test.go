package host

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain keeps the first thread of the process for itself: it must not
// become one that a test has put into another network namespace.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	if os.Getenv(crashEnv) != "" {
		crash()
	}
	os.Exit(m.Run())
}

// enterNetns puts the test into a network namespace of its own. The thread
// stays locked, so it ends with the test, and the namespace with it.
func enterNetns(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace of its own needs root: %v", err)
	}
	must(t, writeSysctl("net/ipv4/ip_forward", "0")) // a new namespace has what the host has
}
