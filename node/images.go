package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	imageref "github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/pulls"
	"fairlead.dev/fairlead/node/registry"
)

// ensureImage finds the image of a container or pulls it, as its policy says. known is the back-off of earlier pulls.
func (w *worker) ensureImage(ctx context.Context, pod *corev1.Pod, c *corev1.Container, known life.Failure) (*runtimeapi.Image, error) {
	if _, err := imageref.ParseNormalizedNamed(c.Image); err != nil {
		text := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", c.Image, c.Image, err)
		w.containerEvent(c.Name, corev1.EventTypeWarning, "InspectFailed", text)
		return nil, &startError{life.InvalidImageName, errors.New(text)}
	}
	want := &runtimeapi.ImageSpec{Image: c.Image}
	present, err := w.a.runtime.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: want})
	if err != nil {
		w.containerEvent(c.Name, corev1.EventTypeWarning, "InspectFailed", fmt.Sprintf("Failed to inspect image %q: %s", c.Image, kuberuntime.Message(err)))
		return nil, &startError{life.ImageInspectError, err}
	}
	try := &pull{a: w.a, pod: pod, image: c.Image, missing: func(names []string) {
		w.event(corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(names, ", ")))
	}}
	if present.Image != nil && c.ImagePullPolicy != corev1.PullAlways {
		must, err := w.a.pulls.MustPull(c.Image, present.Image.Id, func() ([]pulls.Secret, error) { return try.secrets(ctx) })
		if err != nil {
			return nil, &startError{life.ErrImagePull, err}
		}
		if !must {
			w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image))
			return present.Image, nil
		}
	}
	if c.ImagePullPolicy == corev1.PullNever { // which says the same of an image that is there for others
		text := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
		w.containerEvent(c.Name, corev1.EventTypeWarning, "ErrImageNeverPull", text)
		return nil, &startError{life.ErrImageNeverPull, errors.New(text)}
	}
	if time.Now().Before(known.Retry) {
		w.containerEvent(c.Name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
		text := fmt.Sprintf("Back-off pulling image %q: %s: %s", c.Image, life.ErrImagePull, known.Message)
		return nil, &startError{life.ImagePullBackOff, errors.New(text)}
	}
	return w.pullImage(ctx, c, try)
}

// pullImage pulls a container's image and tells of it.
func (w *worker) pullImage(ctx context.Context, c *corev1.Container, try *pull) (*runtimeapi.Image, error) {
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	begin := time.Now()
	present, err := try.run(ctx)
	span := life.Span{From: begin, To: time.Now()}
	w.mail.post(func() { w.startup.pulls = append(w.startup.pulls, span) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		w.containerEvent(c.Name, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", c.Image, err))
		return nil, &startError{life.ErrImagePull, err}
	}
	took := time.Since(begin).Round(time.Millisecond)
	w.containerEvent(c.Name, corev1.EventTypeNormal, "Pulled",
		fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", c.Image, took, took, present.Size))
	return present, nil
}

// pull is one wish of a pod for an image.
type pull struct {
	a       *Agent
	pod     *corev1.Pod
	image   string
	missing func(names []string) // is told which of the pod's secrets cannot be had

	found []pulls.Candidate // the ways to ask for it, once they are known
}

// candidates are the ways to ask for the image, looked up once.
func (p *pull) candidates(ctx context.Context) ([]pulls.Candidate, error) {
	if p.found != nil {
		return p.found, nil
	}
	said := p.a.registries(ctx)
	server, err := said.Server(p.image)
	if err != nil {
		return nil, err
	}
	own, err := said.Credentials(p.image)
	if err != nil {
		return nil, err
	}
	p.found, err = pulls.Candidates(p.image, server, p.pullSecrets(ctx), own)
	return p.found, err
}

// secrets are those of the pod that are for the image.
func (p *pull) secrets(ctx context.Context) ([]pulls.Secret, error) {
	all, err := p.candidates(ctx)
	var found []pulls.Secret
	for _, c := range all {
		if c.Secret != nil {
			found = append(found, *c.Secret)
		}
	}
	return found, err
}

// pullSecrets reads the secrets that the pod names for pulls; those that are not there are left out, as upstream does.
func (p *pull) pullSecrets(ctx context.Context) []corev1.Secret {
	var got []corev1.Secret
	var missing []string
	for _, ref := range p.pod.Spec.ImagePullSecrets {
		if ref.Name == "" {
			continue
		}
		secret, err := p.a.client.CoreV1().Secrets(p.pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			p.a.log.Warn("a secret for pulling images cannot be read", "pod", p.pod.Namespace+"/"+p.pod.Name, "secret", ref.Name, "err", err)
			missing = append(missing, ref.Name)
			continue
		}
		got = append(got, *secret)
	}
	if len(missing) > 0 {
		p.missing(missing)
	}
	return got
}

// run pulls the image by the first way that works, and notes by which.
func (p *pull) run(ctx context.Context) (*runtimeapi.Image, error) {
	ways, err := p.candidates(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.a.pulls.Begin(p.image); err != nil {
		return nil, err
	}
	want := &runtimeapi.ImageSpec{Image: p.image}
	var failures []string
	for _, way := range ways {
		_, err := p.a.runtime.Images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: want, Auth: way.Auth})
		var present *runtimeapi.ImageStatusResponse
		if err == nil {
			present, err = p.a.runtime.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: want})
		}
		if err == nil && present.Image == nil {
			err = errors.New("the image is not there after it was pulled")
		}
		if err == nil {
			err = p.a.pulls.Pulled(p.image, present.Image.Id, way)
		}
		if err == nil {
			return present.Image, nil
		}
		failures = append(failures, kuberuntime.Message(err))
		if ctx.Err() != nil {
			break
		}
	}
	p.a.pulls.Failed(p.image)
	text := pulls.Joined(failures)
	if advice := registry.Advice(p.image, text); advice != "" {
		text += " (" + advice + ")"
	}
	return nil, errors.New(text)
}

// registries are the settings of registries as they are now.
func (a *Agent) registries(ctx context.Context) registry.Registries {
	if a.cfg.Registries == nil {
		return registry.Registries{}
	}
	return a.cfg.Registries(ctx)
}
