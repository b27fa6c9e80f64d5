package kuberuntime

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// claims are the addresses of the sandboxes that run, by which sandbox has each. The plugin that gives addresses out keeps
// files about them; when somebody removes those it begins anew, and gives addresses out that others have.
type claims struct {
	mu sync.Mutex
	by map[string]string
}

// take claims addresses for a sandbox, all or none. It reports whether no other has one of them.
func (c *claims) take(sandbox string, ips []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ip := range ips {
		if other := c.by[ip]; other != "" && other != sandbox {
			return false
		}
	}
	if c.by == nil {
		c.by = map[string]string{}
	}
	for _, ip := range ips {
		c.by[ip] = sandbox
	}
	return true
}

// release gives back what a sandbox has.
func (c *claims) release(sandbox string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ip, by := range c.by {
		if by == sandbox {
			delete(c.by, ip)
		}
	}
}

// sandboxTries is how many sandboxes are made for a pod until one has an address of its own: the addresses of a node's range.
const sandboxTries = 256

// RunPodSandbox runs a sandbox with addresses that no other has. One that got another's is taken down again, and the next
// gets the next address.
func (r *Client) RunPodSandbox(ctx context.Context, in *runtimeapi.RunPodSandboxRequest, opts ...grpc.CallOption) (*runtimeapi.RunPodSandboxResponse, error) {
	for range sandboxTries {
		made, err := r.RuntimeServiceClient.RunPodSandbox(ctx, in, opts...)
		if err != nil {
			return nil, err
		}
		answer, err := r.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: made.PodSandboxId})
		if err != nil {
			return nil, fmt.Errorf("sandbox status: %w", err)
		}
		if r.claims.take(made.PodSandboxId, IPs(answer.Status)) {
			return made, nil
		}
		if _, err := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: made.PodSandboxId}); err != nil {
			return nil, fmt.Errorf("stop a sandbox that got the address of another: %w", err)
		}
		if _, err := r.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: made.PodSandboxId}); err != nil {
			return nil, fmt.Errorf("remove a sandbox that got the address of another: %w", err)
		}
	}
	return nil, fmt.Errorf("%d sandboxes in a row got addresses that other pods of this node have: are all of its range taken?", sandboxTries)
}

// StopPodSandbox stops a sandbox, whose addresses are then free.
func (r *Client) StopPodSandbox(ctx context.Context, in *runtimeapi.StopPodSandboxRequest, opts ...grpc.CallOption) (*runtimeapi.StopPodSandboxResponse, error) {
	answer, err := r.RuntimeServiceClient.StopPodSandbox(ctx, in, opts...)
	if IgnoreNotFound(err) == nil {
		r.claims.release(in.PodSandboxId)
	}
	return answer, err
}

// IPs are the addresses of a sandbox, in the runtime's order.
func IPs(s *runtimeapi.PodSandboxStatus) []string {
	n := s.GetNetwork()
	if n == nil || n.Ip == "" {
		return nil
	}
	ips := []string{n.Ip}
	for _, more := range n.AdditionalIps {
		ips = append(ips, more.Ip)
	}
	return ips
}
