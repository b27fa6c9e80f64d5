package kuberuntime

import (
	"context"
	"path"
	"time"

	"google.golang.org/grpc"

	"fairlead.dev/fairlead/node/metrics"
)

// operations are kubelet's names for the calls of CRI, in its metrics.
var operations = map[string]string{
	"Version": "version", "Status": "status",
	"RunPodSandbox": "run_podsandbox", "StopPodSandbox": "stop_podsandbox", "RemovePodSandbox": "remove_podsandbox",
	"PodSandboxStatus": "podsandbox_status", "ListPodSandbox": "list_podsandbox",
	"CreateContainer": "create_container", "StartContainer": "start_container", "StopContainer": "stop_container", "RemoveContainer": "remove_container",
	"ListContainers": "list_containers", "ContainerStatus": "container_status", "ReopenContainerLog": "reopen_container_log",
	"ExecSync": "exec_sync", "Exec": "exec", "Attach": "attach", "PortForward": "port_forward",
	"ListImages": "list_images", "ImageStatus": "image_status", "PullImage": "pull_image", "RemoveImage": "remove_image",
}

// counted is a connection whose calls are counted.
type counted struct {
	grpc.ClientConnInterface
	metrics *metrics.Metrics
}

// Invoke implements grpc.ClientConnInterface.
func (c counted) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	begin := time.Now()
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if kind, ok := operations[path.Base(method)]; ok {
		c.metrics.Operation(kind, begin, err)
	}
	return err
}
