package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
)

// ImportImages loads the images of an archive into every node that a cluster has on this host, and tells of each. An image without a name
// is called after the archive's file; "-" is none.
func ImportImages(ctx context.Context, inst instance.Instance, s config.Settings, archive io.Reader, file string, told func(node, name string)) error {
	unnamed := "imported"
	if file != "-" {
		unnamed = image.NameOf(file)
	}
	plain, size, err := spool(archive)
	if err != nil {
		return err
	}
	defer plain.Close()
	opened, err := image.Open(plain, size, unnamed)
	if err != nil {
		return err
	}
	return eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		if err := r.Import(ctx, opened); err != nil {
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

// spool keeps an archive, without its compression, in a temporary file that goes with the program.
func spool(archive io.Reader) (file *os.File, size int64, err error) {
	plain, err := image.Plain(archive)
	if err != nil {
		return nil, 0, err
	}
	file, err = os.CreateTemp("", "fairlead-image-")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		size, err = io.Copy(file, plain)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("image archive: %w", err), file.Close())
	}
	return file, size, nil
}

// Images tells of every name of an image that a node of a cluster on this host has, and of the image's size in bytes.
func Images(ctx context.Context, inst instance.Instance, s config.Settings, told func(node, name string, size uint64)) error {
	return eachRuntime(inst, s, func(node string, r *cri.Runtime) error {
		images, err := r.Images(ctx)
		if err != nil {
			return err
		}
		for _, i := range images {
			for _, name := range i.RepoTags {
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
