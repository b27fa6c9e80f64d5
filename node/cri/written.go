package cri

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Written is how much a container has changed in its image, in bytes on the disk, measured now; one that is gone has none.
func (r *Runtime) Written(ctx context.Context, id string) (int64, error) {
	conn, err := r.Conn()
	if err != nil {
		return 0, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", imageNamespace)
	answer, err := snapshots.NewSnapshotsClient(conn).Usage(ctx, &snapshots.UsageRequest{Snapshotter: r.snapshotter(), Key: id})
	if status.Code(err) == codes.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("what container %s has written: %w", id, err)
	}
	return answer.Size, nil
}
