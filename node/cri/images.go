package cri

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Import loads an archive of images that all have their full names, and returns when the CRI service knows those names.
func (r *Runtime) Import(ctx context.Context, archive io.Reader, names []string) error {
	ctr, err := exec.LookPath("ctr")
	if err != nil {
		return fmt.Errorf("image import: ctr is not in PATH: install the package containerd: %w", err)
	}
	args := []string{"--address", r.paths().socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", r.snapshotter()}
	if newer(ctx, ctr) {
		args = append(args, "--local") // the way of 1.x; the other one waits for a plugin that is not loaded
	}
	cmd := exec.CommandContext(ctx, ctr, append(args, "-")...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = archive, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("image import: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	for _, name := range names {
		if err := r.awaitImage(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// newer tells whether ctr is of containerd 2 or later.
func newer(ctx context.Context, ctr string) bool {
	text, err := exec.CommandContext(ctx, ctr, "--version").Output()
	fields := strings.Fields(string(text)) // ctr github.com/containerd/containerd/v2 v2.1.4
	return err == nil && len(fields) > 1 && strings.Contains(fields[1], "/v2")
}

// snapshotter is the one the running containerd was configured with.
func (r *Runtime) snapshotter() string {
	text, _ := os.ReadFile(r.paths().config)
	if bytes.Contains(text, []byte(`snapshotter = "native"`)) {
		return "native"
	}
	return "overlayfs"
}

// awaitImage waits for the CRI service to take notice of an image that came in beside it.
func (r *Runtime) awaitImage(ctx context.Context, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		found, err := r.HasImage(ctx, ref)
		if err != nil {
			return fmt.Errorf("image import: %s: %w", ref, err)
		}
		if found {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("image import: %s does not appear: %w", ref, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// HasImage tells whether an image is in the store, under any spelling of its reference.
func (r *Runtime) HasImage(ctx context.Context, ref string) (bool, error) {
	conn, err := r.Conn()
	if err != nil {
		return false, err
	}
	status, err := runtimeapi.NewImageServiceClient(conn).ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		return false, err
	}
	return status.Image != nil, nil
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
