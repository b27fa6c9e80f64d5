package volume

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// What the group of a pod may do with the files of a volume (upstream's masks).
const (
	groupMayWrite = 0o660
	groupMayRead  = 0o440
	groupMayEnter = 0o110
)

// giveTree gives a volume and what is in it to the pod's group. With OnRootMismatch that is not done again to a volume whose own directory is
// the group's already. Other pods may be writing there meanwhile: every file is opened where it lies, and no link is followed.
func giveTree(path string, group int64, readOnly bool, policy *corev1.PodFSGroupChangePolicy) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if policy != nil && *policy == corev1.FSGroupChangeOnRootMismatch && matches(info, group, readOnly) {
		return nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	// The directory itself comes last: it says that the rest is done.
	return giveDir(root, ".", group, readOnly)
}

func mask(dir, readOnly bool) uint32 {
	mask := uint32(groupMayWrite)
	if readOnly {
		mask = groupMayRead
	}
	if dir {
		mask |= groupMayEnter | unix.S_ISGID
	}
	return mask
}

// matches says whether a volume's own directory is as giveTree leaves it.
func matches(info fs.FileInfo, group int64, readOnly bool) bool {
	is, ok := info.Sys().(*syscall.Stat_t)
	want := mask(true, readOnly)
	return ok && int64(is.Gid) == group && is.Mode&want == want
}

func giveDir(root *os.Root, name string, group int64, readOnly bool) error {
	dir, err := root.OpenRoot(name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			err = giveDir(dir, e.Name(), group, readOnly)
		} else {
			err = giveFile(dir, e.Name(), group, readOnly)
		}
		if err != nil {
			return err
		}
	}
	return giveFile(dir, ".", group, readOnly)
}

// giveFile changes one file, whatever it is; of a link itself only whose it is.
func giveFile(dir *os.Root, name string, group int64, readOnly bool) error {
	at, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer at.Close()
	fd, err := unix.Openat(int(at.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	defer unix.Close(fd)
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return err
	}
	if err := unix.Fchownat(fd, "", -1, int(group), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if is.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	want := is.Mode&0o7777 | mask(is.Mode&unix.S_IFMT == unix.S_IFDIR, readOnly)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), want)
}
