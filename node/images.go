package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
)

// ensureImage finds the image of a container or pulls it, as its policy says. known is the back-off of earlier pulls.
func (w *worker) ensureImage(ctx context.Context, pod *corev1.Pod, c *corev1.Container, known life.Failure) (*runtimeapi.Image, error) {
	want := &runtimeapi.ImageSpec{Image: c.Image}
	present, err := w.a.runtime.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: want})
	if err != nil {
		w.containerEvent(c.Name, corev1.EventTypeWarning, "InspectFailed", fmt.Sprintf("Failed to apply default image tag %q: %s", c.Image, kuberuntime.Message(err)))
		return nil, &startError{life.ImageInspectError, err}
	}
	if present.Image != nil && c.ImagePullPolicy != corev1.PullAlways {
		w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.Image))
		return present.Image, nil
	}
	if c.ImagePullPolicy == corev1.PullNever {
		text := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
		w.containerEvent(c.Name, corev1.EventTypeWarning, "ErrImageNeverPull", text)
		return nil, &startError{life.ErrImageNeverPull, errors.New(text)}
	}
	if time.Now().Before(known.Retry) {
		w.containerEvent(c.Name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
		text := fmt.Sprintf("Back-off pulling image %q: %s: %s", c.Image, life.ErrImagePull, known.Message)
		return nil, &startError{life.ImagePullBackOff, errors.New(text)}
	}
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	begin := time.Now()
	_, err = w.a.runtime.Images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: want})
	span := life.Span{From: begin, To: time.Now()}
	w.mail.post(func() { w.startup.pulls = append(w.startup.pulls, span) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		w.containerEvent(c.Name, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", c.Image, kuberuntime.Message(err)))
		return nil, &startError{life.ErrImagePull, errors.New(kuberuntime.Message(err))}
	}
	present, err = w.a.runtime.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: want})
	if err == nil && present.Image == nil {
		err = errors.New("the image is not there after it was pulled")
	}
	if err != nil {
		return nil, &startError{life.ErrImagePull, err}
	}
	took := time.Since(begin).Round(time.Millisecond)
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulled",
		fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", c.Image, took, took, present.Image.Size))
	return present.Image, nil
}
