package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/node/pulls"
	"fairlead.dev/fairlead/node/registry"
)

// ImportImages loads the images of an archive into every node that a cluster has on this host, and tells of each. An image without a name
// is called after the archive's file; "-" is none. progress is told how much of how many bytes a node has; node "": the archive is read.
func ImportImages(ctx context.Context, inst instance.Instance, s config.Settings, archive io.Reader, file string,
	told func(node, name string), progress func(node string, done, total int64)) error {
	unnamed := "imported"
	if file != "-" {
		unnamed = image.NameOf(file)
	}
	plain, size, err := spool(archive, inst.Dir, func(done int64) { progress("", done, 0) })
	if err != nil {
		return err
	}
	defer plain.Close()
	opened, err := image.Open(plain, size, unnamed)
	if err != nil {
		return err
	}
	total := opened.Size()
	return eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		var done int64
		if err := r.Import(ctx, opened.Told(func(bytes int) {
			done = min(done+int64(bytes), total)
			progress(node, done, total)
		})); err != nil {
			return err
		}
		for _, packed := range opened.Images {
			for _, name := range packed.Names {
				told(node, name)
			}
		}
		return nil
	})
}

// spareDisk is how much of the disk an archive that is unpacked leaves free, in bytes: the store of the cluster may lie there.
const spareDisk = 512 << 20

// spool keeps an archive, without its compression, in a temporary file of dir that goes with the program. One that would fill the disk is
// refused before it does.
func spool(archive io.Reader, dir string, progress func(done int64)) (file *os.File, size int64, err error) {
	plain, err := image.Plain(archive)
	if err != nil {
		return nil, 0, err
	}
	file, err = os.CreateTemp(dir, "fairlead-image-")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(file.Name())
	for err == nil {
		var disk unix.Statfs_t
		if err = unix.Fstatfs(int(file.Fd()), &disk); err != nil {
			break
		}
		if free := int64(disk.Bavail) * disk.Bsize; free < spareDisk {
			err = fmt.Errorf("unpacked it has more than %d MB, and the disk of %s has only %d MB left", size>>20, dir, free>>20)
			break
		}
		var n int64
		n, err = io.CopyN(file, plain, 64<<20)
		size += n
		progress(size)
	}
	if !errors.Is(err, io.EOF) {
		return nil, 0, errors.Join(fmt.Errorf("image archive: %w", err), file.Close())
	}
	return file, size, nil
}

// PullImage pulls an image into every node of a cluster on this host, with the node's own credentials, and tells of each.
func PullImage(ctx context.Context, inst instance.Instance, s config.Settings, ref string, told func(node, name string, size uint64)) error {
	said, err := config.Registries(s.File)
	if err != nil {
		return err
	}
	shown, err := said.Credentials(ref)
	if err != nil {
		return err
	}
	ways := make([]*registry.Credential, max(1, len(shown))) // without any it is asked for as by anybody
	for i := range shown {
		ways[i] = &shown[i]
	}
	return eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		if err := registry.Write(r.HostsDir(), said); err != nil {
			return err
		}
		var failures []string
		for _, by := range ways {
			pulled, err := r.Pull(ctx, ref, by)
			if err == nil {
				told(node, ref, pulled.Size)
				return nil
			}
			failures = append(failures, err.Error())
		}
		text := pulls.Joined(failures)
		if advice := registry.Advice(ref, text); advice != "" {
			text += " (" + advice + ")"
		}
		return errors.New(text)
	})
}

// RemoveImage removes an image from every node of a cluster on this host that has it, and tells of each.
func RemoveImage(ctx context.Context, inst instance.Instance, s config.Settings, ref string, told func(node, name string)) error {
	there := false
	err := eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		found, err := r.Remove(ctx, ref)
		there = there || found
		if found && err == nil {
			told(node, ref)
		}
		return err
	})
	if err == nil && !there {
		err = fmt.Errorf("no node has an image %s; 'fairlead image ls' lists them", ref)
	}
	return err
}

// Images tells of every name of an image that a node of a cluster on this host has, and of the image's size in bytes. One without a name
// is told by its digest.
func Images(ctx context.Context, inst instance.Instance, s config.Settings, told func(node, name string, size uint64)) error {
	return eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		images, err := r.Images(ctx)
		if err != nil {
			return err
		}
		for _, i := range images {
			names := i.RepoTags
			if len(names) == 0 {
				names = i.RepoDigests
			}
			if len(names) == 0 {
				names = []string{i.Id}
			}
			for _, name := range names {
				told(node, name, i.Size)
			}
		}
		return nil
	})
}

// eachRuntime calls f for the containerd of every node that a cluster has on this host.
func eachRuntime(inst instance.Instance, s config.Settings, f func(node string, r *cri.Runtime) error) error {
	if _, running := inst.Running(); !running {
		return fmt.Errorf("cluster %q does not run; 'fairlead up' starts it", s.Name)
	}
	names := nodesOf(inst)
	if len(names) == 0 {
		return errors.New("this host has no node of the cluster; import the image on the nodes")
	}
	slices.Sort(names)
	for _, name := range names {
		if err := f(name, runtimeOf(inst, s.Name, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
