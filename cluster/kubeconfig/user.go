package kubeconfig

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User is whose kubeconfig is meant: the one who invoked the program, also under sudo.
type User struct {
	UID, GID int
	Groups   []int
	Files    []string `json:"-"` // the kubeconfigs that kubectl reads for that user; the first is changed
}

// Invoker is the user who invoked the program.
func Invoker() (User, error) {
	u := User{UID: os.Getuid(), GID: os.Getgid()}
	home := os.Getenv("HOME")
	groups, err := os.Getgroups()
	if err != nil {
		return u, err
	}
	u.Groups = groups
	if name := os.Getenv("SUDO_USER"); name != "" && u.UID == 0 {
		if home, err = u.become(name); err != nil {
			return u, err
		}
	}
	for _, path := range filepath.SplitList(os.Getenv("KUBECONFIG")) {
		if path == "" {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return u, err
		}
		u.Files = append(u.Files, path)
	}
	if len(u.Files) == 0 {
		if home == "" {
			return u, errors.New("HOME is not set: set it, or KUBECONFIG, to the place of your kubeconfig")
		}
		u.Files = []string{filepath.Join(home, ".kube", "config")}
	}
	return u, nil
}

// become makes u the user of a name and tells their home. sudo names the user twice; both have to agree.
func (u *User) become(name string) (home string, err error) {
	who, err := user.Lookup(name)
	if err != nil {
		return "", fmt.Errorf("SUDO_USER: %w", err)
	}
	if id := os.Getenv("SUDO_UID"); id != "" && id != who.Uid {
		return "", fmt.Errorf("SUDO_UID is %s, but SUDO_USER %q has the id %s: nobody's kubeconfig is changed", id, name, who.Uid)
	}
	ids, err := who.GroupIds()
	if err != nil {
		return "", fmt.Errorf("groups of %q: %w", name, err)
	}
	u.Groups = nil
	for _, id := range ids {
		group, err := strconv.Atoi(id)
		if err != nil {
			return "", err
		}
		u.Groups = append(u.Groups, group)
	}
	u.UID, err = strconv.Atoi(who.Uid)
	if err == nil {
		u.GID, err = strconv.Atoi(who.Gid)
	}
	return who.HomeDir, err
}

// do runs f with the rights that the user has on files, and no others. Only files: the rest of what the thread is stays
// root's, so the user can neither trace nor signal it. The thread ends with the work.
func (u User) do(f func() error) error {
	if u.UID == os.Geteuid() {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: no other work may run on a thread with these rights
		result <- func() error {
			if err := u.assume(); err != nil {
				return fmt.Errorf("act as user %d: %w", u.UID, err)
			}
			return f()
		}()
	}()
	return <-result
}

// assume gives the calling thread the user's rights on files. The system calls are made directly, as Go's own functions
// change every thread.
func (u User) assume() error {
	groups := make([]uint32, len(u.Groups)+1)
	for i, g := range u.Groups {
		groups[i] = uint32(g)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return errno
	}
	unix.RawSyscall(unix.SYS_SETFSGID, uintptr(u.GID), 0, 0) // tells the old id, and no error
	unix.RawSyscall(unix.SYS_SETFSUID, uintptr(u.UID), 0, 0)
	gid, _, _ := unix.RawSyscall(unix.SYS_SETFSGID, ^uintptr(0), 0, 0)
	uid, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0)
	if int(gid) != u.GID || int(uid) != u.UID {
		return unix.EPERM
	}
	return nil
}
