package cri

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/distribution/reference"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/registry"
)

// Pull has containerd pull an image by these credentials; nil: as anybody.
func (r *Runtime) Pull(ctx context.Context, ref string, by *registry.Credential) (*runtimeapi.Image, error) {
	conn, err := r.Conn()
	if err != nil {
		return nil, err
	}
	request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}
	if by != nil {
		request.Auth = &runtimeapi.AuthConfig{Username: by.Username, Password: by.Password, ServerAddress: by.Server}
	}
	if _, err := runtimeapi.NewImageServiceClient(conn).PullImage(ctx, request); err != nil {
		return nil, errors.New(status.Convert(err).Message())
	}
	found, err := r.image(ctx, ref)
	if err == nil && found == nil {
		err = fmt.Errorf("image %s is not there after it was pulled", ref)
	}
	return found, err
}

// Remove takes a name from an image, and removes one that has no other, or that is meant by its digest. found is false where there is none;
// one that a container has, or that every pod needs, is refused.
func (r *Runtime) Remove(ctx context.Context, ref string) (found bool, err error) {
	image, err := r.image(ctx, ref)
	if err != nil || image == nil {
		return false, err
	}
	if name, other := nameOf(ref, image.RepoTags); other {
		return true, r.untag(ctx, name)
	}
	if slices.Contains(image.RepoTags, PauseImage) {
		return true, fmt.Errorf("image %s is what every pod's sandbox runs, and is never pulled", ref)
	}
	conn, err := r.Conn()
	if err != nil {
		return true, err
	}
	all, err := runtimeapi.NewRuntimeServiceClient(conn).ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return true, fmt.Errorf("containers: %w", err)
	}
	for _, c := range all.Containers {
		if c.ImageRef == image.Id || c.Image.GetImage() == image.Id || slices.Contains(image.RepoTags, c.Image.GetImage()) {
			return true, fmt.Errorf("image %s is in use by container %q of pod %s/%s; delete the pod first",
				ref, c.Metadata.GetName(), c.Labels["io.kubernetes.pod.namespace"], c.Labels["io.kubernetes.pod.name"])
		}
	}
	_, err = runtimeapi.NewImageServiceClient(conn).RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image.Id}})
	return true, err
}

// nameOf is the name among an image's that is meant, and whether the image has another.
func nameOf(ref string, names []string) (name string, other bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", false
	}
	name = reference.TagNameOnly(named).String()
	return name, slices.Contains(names, name) && len(names) > 1
}

// untag takes a name from an image that has others, and waits until the CRI service has taken notice.
func (r *Runtime) untag(ctx context.Context, name string) error {
	conn, err := r.Conn()
	if err != nil {
		return err
	}
	in := metadata.AppendToOutgoingContext(ctx, "containerd-namespace", imageNamespace)
	if _, err := images.NewImagesClient(conn).Delete(in, &images.DeleteImageRequest{Name: name, Sync: true}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		found, err := r.image(ctx, name)
		if err != nil || found == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("image %s does not go: %w", name, ctx.Err())
		case <-time.After(wait):
		}
	}
}
