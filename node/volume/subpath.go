package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/spec"
)

// subPath is a mount of a part of a volume.
type subPath struct {
	mount       *runtimeapi.Mount
	volume      string
	base, below string // the volume's directory on the node, and the path in it
}

// prepareMounts makes what has to be there before the runtime mounts: the parts of volumes, and the places where mounts go that lie
// in other ones. It works in the runtime's mount namespace, where volumes in memory are.
func (mgr *Manager) prepareMounts(pod *corev1.Pod, container string, mounts []*runtimeapi.Mount, subPaths []subPath) error {
	inside := nested(mounts, mgr.volumeDir(pod, ""))
	if len(subPaths) == 0 && len(inside) == 0 {
		return nil
	}
	return mgr.Runtime.InMounts(func() error {
		for i, p := range subPaths {
			target := filepath.Join(spec.PodDir(mgr.Dir, pod), "subpaths", container, fmt.Sprint(i))
			if err := bindSubPath(p.base, p.below, target); err != nil {
				return fmt.Errorf("failed to prepare subPath for volumeMount %q: %w", p.volume, err)
			}
			p.mount.HostPath = target
		}
		for _, n := range inside {
			if err := makeMountPoint(n.parent.HostPath, n.below, n.mount.HostPath); err != nil {
				return fmt.Errorf("failed to prepare the place of %s in %s: %w", n.mount.ContainerPath, n.parent.ContainerPath, err)
			}
		}
		return nil
	})
}

// bindSubPath binds a part of a volume to a place of the node's own. The part is opened below the volume's directory, whatever links a
// container puts there meanwhile, and what was opened is bound: the runtime is given no path that a container could change.
func bindSubPath(base, below, target string) error {
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat(below); errors.Is(err, fs.ErrNotExist) {
		if err := makeSubPath(root, below); err != nil {
			return err
		}
	}
	file, err := root.OpenFile(below, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := unmount(target); err != nil { // of an earlier start of the container
		return err
	}
	if err := makeTarget(target, info.IsDir()); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", file.Fd()), target, "", unix.MS_BIND|unix.MS_REC, "")
}

// makeSubPath makes the directory of a part that is not there, for every user to write.
func makeSubPath(root *os.Root, below string) error {
	if err := root.MkdirAll(below, 0o750); err != nil {
		return err
	}
	return root.Chmod(below, 0o777)
}

// unmount takes a mount away, if there is one.
func unmount(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// makeTarget makes an empty directory or file to mount on.
func makeTarget(target string, dir bool) error {
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}

// nestedMount is a mount that lies in another one, at the path below it.
type nestedMount struct {
	mount, parent *runtimeapi.Mount
	below         string
}

// nested finds the mounts that lie in another one whose files are the node's: those of volumes below the directory. The runtime makes
// the places of mounts itself, but not in what it has mounted for reading only.
func nested(mounts []*runtimeapi.Mount, volumes string) []nestedMount {
	var out []nestedMount
	for _, m := range mounts {
		var parent *runtimeapi.Mount
		for _, p := range mounts {
			if p != m && contains(p.ContainerPath, m.ContainerPath) && (parent == nil || contains(parent.ContainerPath, p.ContainerPath)) {
				parent = p
			}
		}
		if parent != nil && parent.Readonly && contains(volumes, parent.HostPath) {
			below := strings.TrimPrefix(filepath.Clean(m.ContainerPath), filepath.Clean(parent.ContainerPath))
			out = append(out, nestedMount{m, parent, strings.TrimPrefix(below, "/")})
		}
	}
	return out
}

// contains tells whether a path lies in a directory.
func contains(dir, path string) bool {
	dir, path = filepath.Clean(dir), filepath.Clean(path)
	return path != dir && strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// makeMountPoint makes the place of a mount in a volume, of the kind of what will be mounted. What is there already is used.
func makeMountPoint(volume, below, source string) error {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat(below); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	dir := below
	if !info.IsDir() {
		dir = filepath.Dir(below)
	}
	if err := root.MkdirAll(dir, 0o755); err != nil || info.IsDir() {
		return err
	}
	return root.WriteFile(below, nil, 0o644)
}

// sortByDepth puts the mounts that others lie in first.
func sortByDepth(mounts []*runtimeapi.Mount) {
	slices.SortStableFunc(mounts, func(a, b *runtimeapi.Mount) int {
		return strings.Count(filepath.Clean(a.ContainerPath), "/") - strings.Count(filepath.Clean(b.ContainerPath), "/")
	})
}
