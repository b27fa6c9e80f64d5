package cri

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f on an operating-system thread that ends with it, so f may change what belongs to a thread: its mount
// namespace and its cgroup. A process started by f inherits both. The main thread is never used: /proc/self describes it.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onOwnThread(f) // another thread has to be chosen while this one is held
			runtime.UnlockOSThread()
			return
		}
		done <- f() // never unlocked: the runtime ends the thread with the goroutine
	}()
	return <-done
}
