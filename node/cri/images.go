package cri

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// snapshotter is the one the running containerd was configured with.
func (r *Runtime) snapshotter() string {
	text, _ := os.ReadFile(r.paths().config)
	if bytes.Contains(text, []byte(`snapshotter = "native"`)) {
		return "native"
	}
	return "overlayfs"
}

// awaitImage waits until the CRI service has taken notice that a name stands for one of these images, which came in beside it.
func (r *Runtime) awaitImage(ctx context.Context, name string, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		found, err := r.image(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if found != nil && slices.Contains(ids, found.Id) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not appear: %w", name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// HasImage tells whether an image is in the store, under any spelling of its reference.
func (r *Runtime) HasImage(ctx context.Context, ref string) (bool, error) {
	found, err := r.image(ctx, ref)
	return found != nil, err
}

// image is what the CRI service knows of an image, or nil.
func (r *Runtime) image(ctx context.Context, ref string) (*runtimeapi.Image, error) {
	conn, err := r.Conn()
	if err != nil {
		return nil, err
	}
	status, err := runtimeapi.NewImageServiceClient(conn).ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		return nil, err
	}
	return status.Image, nil
}

// Images lists the image store.
func (r *Runtime) Images(ctx context.Context) ([]*runtimeapi.Image, error) {
	conn, err := r.Conn()
	if err != nil {
		return nil, err
	}
	list, err := runtimeapi.NewImageServiceClient(conn).ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return list.Images, nil
}
