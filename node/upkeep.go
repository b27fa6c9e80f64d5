package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/imagegc"
	"fairlead.dev/fairlead/node/kuberuntime"
)

// imagePeriod is how often the disk of the images is looked at (kubelet's ImageGCPeriod).
const imagePeriod = 5 * time.Minute

// upkeep keeps logs, pods with limits and images from filling the disk.
func (a *Agent) upkeep(ctx context.Context) error {
	history, failures, looked := imagegc.History{}, 0, time.Time{}
	for kube.Sleep(ctx, rotatePeriod) {
		for _, w := range a.workers() {
			w.mail.post(func() {
				w.rotate(ctx)
				w.boundStorage(ctx)
			})
		}
		if time.Since(looked) < imagePeriod {
			continue
		}
		looked = time.Now()
		disk, err := diskOf(a.containerd.Dir)
		if err == nil {
			err = a.collectImages(ctx, history, disk.Excess(), looked)
		}
		if failures++; err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			a.imagesStay(err, failures)
		}
	}
	return ctx.Err()
}

// imagesStay tells that images could not be removed; of a failure that comes again the Node has an Event, as upstream.
func (a *Agent) imagesStay(err error, failures int) {
	a.log.Warn("unused images cannot be removed", "err", err)
	if failures > 1 {
		a.events.Event(a.nodeStatus.Reference(), corev1.EventTypeWarning, "ImageGCFailed", err.Error())
	}
}

func diskOf(dir string) (imagegc.Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return imagegc.Disk{}, fmt.Errorf("disk of %s: %w", dir, err)
	}
	return imagegc.Disk{Capacity: int64(s.Blocks) * s.Bsize, Available: int64(s.Bavail) * s.Bsize}, nil
}

// collectImages notes which images are in use, and removes others until so many bytes are freed.
func (a *Agent) collectImages(ctx context.Context, history imagegc.History, excess int64, now time.Time) error {
	images, inUse, err := a.imagesNow(ctx)
	if err != nil {
		return err
	}
	history.Note(images, inUse, now)
	if excess == 0 {
		return a.pulls.Forget(func(id string) bool {
			return slices.ContainsFunc(images, func(i imagegc.Image) bool { return i.ID == id })
		})
	}
	var freed int64
	for _, i := range history.Candidates(images, inUse, now) {
		if freed >= excess {
			break
		}
		if _, err := a.runtime.Images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: i.ID}}); err != nil {
			a.log.Warn("an image cannot be removed", "image", i.ID, "err", kuberuntime.Message(err))
			continue
		}
		a.log.Info("an unused image is removed, the disk is full", "image", i.ID, "bytes", i.Size)
		freed += i.Size
	}
	if freed < excess {
		text := fmt.Sprintf("Failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free.", excess, freed)
		a.events.Event(a.nodeStatus.Reference(), corev1.EventTypeWarning, "FreeDiskSpaceFailed", text)
		return fmt.Errorf("%s", text)
	}
	return nil
}

// imagesNow are the images of the runtime, and the ids of those that a container has, one that has ended included.
func (a *Agent) imagesNow(ctx context.Context) ([]imagegc.Image, map[string]bool, error) {
	listed, err := a.runtime.Images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, nil, fmt.Errorf("list images: %w", err)
	}
	containers, err := a.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, nil, fmt.Errorf("list containers: %w", err)
	}
	inUse := map[string]bool{}
	for _, c := range containers.Containers {
		inUse[c.ImageRef], inUse[c.Image.GetImage()] = true, true
	}
	var images []imagegc.Image
	for _, i := range listed.Images {
		for _, name := range slices.Concat(i.RepoTags, i.RepoDigests) {
			if inUse[name] {
				inUse[i.Id] = true
			}
		}
		brought := !a.pulls.Known(i.Id) // nothing could bring it again: no registry may have it
		images = append(images, imagegc.Image{ID: i.Id, Size: int64(i.Size), Pinned: i.Pinned || brought || slices.Contains(i.RepoTags, cri.PauseImage)})
	}
	return images, inUse, nil
}
