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

// Import loads an OCI or Docker image archive and returns the references it brought, for example docker.io/library/nginx:1.
// It returns when the CRI service knows them.
func (r *Runtime) Import(ctx context.Context, archive io.Reader) ([]string, error) {
	ctr, err := exec.LookPath("ctr")
	if err != nil {
		return nil, fmt.Errorf("image import: ctr is not in PATH: install the package containerd: %w", err)
	}
	args := []string{"--address", r.paths().socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", r.snapshotter(), "-"}
	cmd := exec.CommandContext(ctx, ctr, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = archive, &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("image import: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	refs := importedRefs(out.String())
	if len(refs) == 0 {
		return nil, fmt.Errorf("image import: the archive names no image: %s", strings.TrimSpace(out.String()))
	}
	for _, ref := range refs {
		if err := r.awaitImage(ctx, ref); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// snapshotter is the one the running containerd was configured with.
func (r *Runtime) snapshotter() string {
	text, _ := os.ReadFile(r.paths().config)
	if bytes.Contains(text, []byte(`snapshotter = "native"`)) {
		return "native"
	}
	return "overlayfs"
}

// importedRefs reads what ctr prints: one line `unpacking REF (DIGEST)...done` for each image.
func importedRefs(output string) []string {
	var refs []string
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(line, "unpacking "); ok {
			if ref, _, ok := strings.Cut(rest, " "); ok {
				refs = append(refs, ref)
			}
		}
	}
	return refs
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
