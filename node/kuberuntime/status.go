package kuberuntime

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// PodStatus reads what the runtime knows of a pod. What cannot change any more is taken from the last look.
func (r *Client) PodStatus(ctx context.Context, uid types.UID, last life.Observed) (life.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	seen := life.Observed{Containers: map[string][]life.Container{}}
	labels := map[string]string{spec.LabelPodUID: string(uid)}
	sandboxes, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: labels}})
	if err != nil {
		return seen, fmt.Errorf("list sandboxes: %w", err)
	}
	slices.SortFunc(sandboxes.Items, func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	for _, s := range sandboxes.Items {
		one, err := r.sandboxStatus(ctx, s, last)
		if err != nil {
			return seen, err
		}
		seen.Sandboxes = append(seen.Sandboxes, one)
	}
	containers, err := r.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: labels}})
	if err != nil {
		return seen, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers.Containers {
		one, err := r.containerStatus(ctx, c, last)
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return seen, err
		}
		seen.Containers[one.Name] = append(seen.Containers[one.Name], one)
	}
	for _, list := range seen.Containers {
		slices.SortFunc(list, func(a, b life.Container) int { return b.Created.Compare(a.Created) })
	}
	return seen, nil
}

func (r *Client) sandboxStatus(ctx context.Context, s *runtimeapi.PodSandbox, last life.Observed) (life.Sandbox, error) {
	one := life.Sandbox{ID: s.Id, Attempt: s.Metadata.GetAttempt(), Ready: s.State == runtimeapi.PodSandboxState_SANDBOX_READY}
	for _, known := range last.Sandboxes {
		if known.ID == one.ID && known.Ready == one.Ready {
			return known, nil
		}
	}
	if !one.Ready {
		return one, nil
	}
	answer, err := r.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.Id})
	if err != nil {
		return one, fmt.Errorf("sandbox status: %w", err)
	}
	one.IPs = IPs(answer.Status)
	r.claims.take(one.ID, one.IPs) // also those of an earlier run
	// The runtime lists IPv4 first; a pod's first address is of its node's primary family (kubelet).
	slices.SortStableFunc(one.IPs, func(a, b string) int { return r.rank(a) - r.rank(b) })
	return one, nil
}

// rank orders addresses by family, the primary first.
func (r *Client) rank(ip string) int {
	if strings.Contains(ip, ":") == r.six {
		return 0
	}
	return 1
}

func (r *Client) containerStatus(ctx context.Context, c *runtimeapi.Container, last life.Observed) (life.Container, error) {
	name := c.Labels[spec.LabelContainerName]
	state := containerState(c.State)
	for _, known := range last.Containers[name] {
		if known.ID == c.Id && known.State == state && state != life.Created {
			return known, nil
		}
	}
	answer, err := r.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
	if err != nil {
		return life.Container{}, fmt.Errorf("container status: %w", err)
	}
	s := answer.Status
	one := life.Container{
		ID: s.Id, Name: name, SandboxID: c.PodSandboxId,
		Image: s.Image.GetImage(), ImageID: s.ImageRef, SpecImage: s.Annotations[spec.AnnotationImage],
		Attempt: s.Metadata.GetAttempt(), State: containerState(s.State),
		Created: nanos(s.CreatedAt), Started: nanos(s.StartedAt), Finished: nanos(s.FinishedAt),
		ExitCode: s.ExitCode, Reason: s.Reason, Message: s.Message,
	}
	if one.State == life.Exited {
		if text := terminationMessage(s); text != "" {
			one.Message = text
		}
	}
	return one, nil
}

func containerState(s runtimeapi.ContainerState) life.State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return life.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return life.Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return life.Exited
	}
	return life.Unknown
}

func nanos(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
