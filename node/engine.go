package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/metrics"
	"fairlead.dev/fairlead/node/spec"
)

// engine speaks to the container runtime.
type engine struct {
	runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
	six    bool // IPv6 is the node's primary family
	claims claims
}

func newEngine(conn *grpc.ClientConn, six bool) *engine {
	return &engine{RuntimeServiceClient: runtimeapi.NewRuntimeServiceClient(conn), images: runtimeapi.NewImageServiceClient(conn), six: six}
}

// lookTimeout bounds the calls that only read.
const lookTimeout = 5 * time.Second

// look reads what the runtime knows of a pod. What cannot change any more is taken from the last look.
func (e *engine) look(ctx context.Context, uid types.UID, last life.Observed) (life.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	seen := life.Observed{Containers: map[string][]life.Container{}}
	labels := map[string]string{spec.LabelPodUID: string(uid)}
	sandboxes, err := e.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: labels}})
	if err != nil {
		return seen, fmt.Errorf("list sandboxes: %w", err)
	}
	slices.SortFunc(sandboxes.Items, func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(b.CreatedAt, a.CreatedAt) })
	for _, s := range sandboxes.Items {
		one, err := e.lookSandbox(ctx, s, last)
		if err != nil {
			return seen, err
		}
		seen.Sandboxes = append(seen.Sandboxes, one)
	}
	containers, err := e.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: labels}})
	if err != nil {
		return seen, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers.Containers {
		one, err := e.lookContainer(ctx, c, last)
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

func (e *engine) lookSandbox(ctx context.Context, s *runtimeapi.PodSandbox, last life.Observed) (life.Sandbox, error) {
	one := life.Sandbox{ID: s.Id, Attempt: s.Metadata.GetAttempt(), Ready: s.State == runtimeapi.PodSandboxState_SANDBOX_READY}
	for _, known := range last.Sandboxes {
		if known.ID == one.ID && known.Ready == one.Ready {
			return known, nil
		}
	}
	if !one.Ready {
		return one, nil
	}
	answer, err := e.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.Id})
	if err != nil {
		return one, fmt.Errorf("sandbox status: %w", err)
	}
	one.IPs = ipsOf(answer.Status)
	e.claims.take(one.ID, one.IPs) // also those of an earlier run
	// The runtime lists IPv4 first; a pod's first address is of its node's primary family (kubelet).
	slices.SortStableFunc(one.IPs, func(a, b string) int { return e.rank(a) - e.rank(b) })
	return one, nil
}

// rank orders addresses by family, the primary first.
func (e *engine) rank(ip string) int {
	if strings.Contains(ip, ":") == e.six {
		return 0
	}
	return 1
}

func (e *engine) lookContainer(ctx context.Context, c *runtimeapi.Container, last life.Observed) (life.Container, error) {
	name := c.Labels[spec.LabelContainerName]
	state := containerState(c.State)
	for _, known := range last.Containers[name] {
		if known.ID == c.Id && known.State == state && state != life.Created {
			return known, nil
		}
	}
	answer, err := e.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
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

// everything lists, by pod, what a change of the runtime's state would change; and the pod each sandbox and container belongs to.
func (e *engine) everything(ctx context.Context) (map[types.UID]*inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	sandboxes, err := e.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := e.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := map[types.UID]*inventory{}
	of := func(labels, annotations map[string]string) *inventory {
		uid := types.UID(labels[spec.LabelPodUID])
		if out[uid] == nil {
			out[uid] = &inventory{labels: labels}
		}
		if annotations[spec.AnnotationGrace] != "" {
			out[uid].grace = annotations[spec.AnnotationGrace]
		}
		return out[uid]
	}
	for _, s := range sandboxes.Items {
		of(s.Labels, s.Annotations).add(s.Id, s.State.String())
	}
	for _, c := range containers.Containers {
		of(c.Labels, c.Annotations).add(c.Id, c.State.String())
	}
	delete(out, "")
	for _, i := range out {
		slices.Sort(i.states)
	}
	return out, nil
}

// running counts the pods whose sandbox runs, and containers by their state.
func (e *engine) running(ctx context.Context) (metrics.Running, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	out := metrics.Running{Containers: map[string]int{}}
	sandboxes, err := e.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return out, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := e.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return out, fmt.Errorf("list containers: %w", err)
	}
	for state := life.Created; state <= life.Unknown; state++ {
		out.Containers[state.String()] = 0
	}
	pods := map[string]bool{}
	for _, s := range sandboxes.Items {
		if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			pods[s.Labels[spec.LabelPodUID]] = true
		}
	}
	out.Pods = len(pods)
	for _, c := range containers.Containers {
		out.Containers[containerState(c.State).String()]++
	}
	return out, nil
}

// inventory is what the runtime has of one pod.
type inventory struct {
	labels map[string]string
	grace  string
	ids    []string
	states []string
}

func (i *inventory) add(id, state string) {
	i.ids = append(i.ids, id)
	i.states = append(i.states, id+"="+state)
}

func (i *inventory) signature() string { return strings.Join(i.states, " ") }

// execSync runs a command in a container and returns its output, stdout first.
func (e *engine) execSync(ctx context.Context, id string, command []string, timeout time.Duration) (string, int32, error) {
	seconds := int64((timeout + time.Second - 1) / time.Second)
	answer, err := e.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: seconds})
	if status.Code(err) == codes.DeadlineExceeded || (err != nil && strings.Contains(err.Error(), context.DeadlineExceeded.Error())) {
		return "", 0, context.DeadlineExceeded
	}
	if err != nil {
		return "", 0, errors.New(status.Convert(err).Message())
	}
	return string(answer.Stdout) + string(answer.Stderr), answer.ExitCode, nil
}

// notFound drops the error of a call about something that the runtime does not have any more.
func notFound(err error) error {
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}
