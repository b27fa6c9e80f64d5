// Package kuberuntime speaks to the container runtime in the terms of package life: what a pod has there, all that runs, commands in
// containers, sandboxes whose addresses no other has. Every call is counted (package metrics).
package kuberuntime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/metrics"
)

// Client calls the runtime. Where the methods of CRI have to be more than a call they are overridden here.
type Client struct {
	runtimeapi.RuntimeServiceClient
	Images runtimeapi.ImageServiceClient

	six    bool // IPv6 is the node's primary family
	claims claims
}

// New makes a client on a connection to the runtime. six says that IPv6 is the node's primary family.
func New(conn grpc.ClientConnInterface, six bool, m *metrics.Metrics) *Client {
	conn = counted{conn, m}
	return &Client{RuntimeServiceClient: runtimeapi.NewRuntimeServiceClient(conn), Images: runtimeapi.NewImageServiceClient(conn), six: six}
}

// CallTimeout bounds the calls that only read.
const CallTimeout = 5 * time.Second

// RunInContainer runs a command in a container and returns its output, stdout first. A command that takes longer than the timeout (0: it may)
// gives context.DeadlineExceeded.
func (r *Client) RunInContainer(ctx context.Context, id string, command []string, timeout time.Duration) (string, int32, error) {
	seconds := int64((timeout + time.Second - 1) / time.Second)
	answer, err := r.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: seconds})
	if status.Code(err) == codes.DeadlineExceeded || (err != nil && strings.Contains(err.Error(), context.DeadlineExceeded.Error())) {
		return "", 0, context.DeadlineExceeded
	}
	if err != nil {
		return "", 0, errors.New(status.Convert(err).Message())
	}
	return string(answer.Stdout) + string(answer.Stderr), answer.ExitCode, nil
}

// NotReady asks the runtime for its own conditions; empty means that pods can be run.
func (r *Client) NotReady(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	answer, err := r.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return "container runtime is down: " + Message(err)
	}
	var problems []string
	for _, c := range answer.Status.GetConditions() {
		switch {
		case c.Status:
		case c.Type == runtimeapi.NetworkReady:
			problems = append(problems, fmt.Sprintf("container runtime network not ready: %s=%v reason:%s message:%s", c.Type, c.Status, c.Reason, c.Message))
		case c.Type == runtimeapi.RuntimeReady:
			problems = append(problems, fmt.Sprintf("container runtime not ready: %s=%v reason:%s message:%s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return strings.Join(problems, ", ")
}

// IgnoreNotFound drops the error of a call about something that the runtime does not have any more.
func IgnoreNotFound(err error) error {
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// Message is an error as upstream prints it, without the wrapping of the gRPC library.
func Message(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("rpc error: code = %s desc = %s", s.Code(), s.Message())
	}
	return err.Error()
}
