package keeper

import (
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// hold takes the lock that shows that a keeper lives, until this process ends, and leaves its number there.
func hold(path string) error {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	const ofdSetLock = 37 // F_OFD_SETLK: the lock is the open file's, and ends with the process
	if err := syscall.FcntlFlock(uintptr(fd), ofdSetLock, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		return err
	}
	if err := syscall.Ftruncate(fd, 0); err != nil {
		return err
	}
	_, err = syscall.Write(fd, []byte(strconv.Itoa(os.Getpid())+"\n"))
	return err
}

// self is the file of this program, and of this version of it even if another has been installed in its place.
func self() string {
	const running = "/proc/self/exe"
	path, err := os.Readlink(running)
	if err != nil {
		return running
	}
	at, err1 := os.Stat(path)
	is, err2 := os.Stat(running)
	if err1 != nil || err2 != nil || !os.SameFile(at, is) {
		return running
	}
	return path
}

func wait(pid int) (syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		switch _, err := syscall.Wait4(pid, &status, 0, nil); err {
		case nil:
			return status, nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}

// waitForeign returns when a process that is not a child has ended.
func waitForeign(pid int) {
	const pidfdOpen = 434 // on every architecture
	fd, _, errno := syscall.RawSyscall(pidfdOpen, uintptr(pid), 0, 0)
	if errno != 0 {
		return // it is gone
	}
	defer syscall.Close(int(fd))
	for {
		one := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: 1} // POLLIN
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&one)), 1, 0, 0, 0, 0)
		if errno != syscall.EINTR || int(n) > 0 {
			return
		}
	}
}

// say writes a line to the cluster's log, in its form.
func say(message string, pairs ...string) {
	line := "time=" + time.Now().Format("2006-01-02T15:04:05.000Z07:00") + " level=WARN msg=" + strconv.Quote(message) + " part=keeper"
	for i := 0; i+1 < len(pairs); i += 2 {
		line += " " + pairs[i] + "=" + strconv.Quote(pairs[i+1])
	}
	os.Stderr.WriteString(line + "\n")
}
