package cri

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/node/image"
)

// unpack makes a snapshot of each layer of an image, and lets the image's configuration keep the last, as the CRI service does with
// an image that it pulls. A layer whose content is not the one that the configuration knows is an error.
func (s *store) unpack(ctx context.Context, v image.Variant) error {
	parent := ""
	for i, layer := range v.Layers {
		chain := chainID(parent, v.DiffIDs[i])
		if err := s.unpackLayer(ctx, layer, v.DiffIDs[i], parent, chain); err != nil {
			return fmt.Errorf("layer %d, %s: %w", i+1, layer.Digest, err)
		}
		parent = chain
	}
	if parent == "" {
		return nil
	}
	return s.label(ctx, v.Config.Digest, map[string]string{labelSnapshot + s.snapshotter: parent})
}

// chainID is the name of a layer on top of others (OCI image specification, config.md): the digest of its parent's and its own.
func chainID(parent, diffID string) string {
	if parent == "" {
		return diffID
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(parent+" "+diffID)))
}

// unpackLayer makes the snapshot chain of a layer, unless it is there. The lease gets it first: a snapshot that was found in time may
// be one that nothing else keeps.
func (s *store) unpackLayer(ctx context.Context, layer image.Blob, diffID, parent, chain string) error {
	kept := &leases.Resource{ID: chain, Type: "snapshots/" + s.snapshotter}
	if _, err := leases.NewLeasesClient(s.Conn).AddResource(ctx, &leases.AddResourceRequest{ID: importLease, Resource: kept}); err != nil {
		return err
	}
	client := snapshots.NewSnapshotsClient(s.Conn)
	_, err := client.Stat(ctx, &snapshots.StatSnapshotRequest{Snapshotter: s.snapshotter, Key: chain})
	if status.Code(err) != codes.NotFound {
		return err
	}
	key := s.name + "/" + chain
	prepared, err := client.Prepare(ctx, &snapshots.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: key, Parent: parent})
	if err != nil {
		return err
	}
	applied, err := diff.NewDiffClient(s.Conn).Apply(ctx, &diff.ApplyRequest{Diff: descriptor(layer), Mounts: prepared.Mounts})
	if err == nil && applied.Applied.GetDigest() != diffID {
		err = fmt.Errorf("it is damaged: unpacked it is %s, not %s", applied.Applied.GetDigest(), diffID)
	}
	if err == nil {
		_, err = client.Commit(ctx, &snapshots.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: chain, Key: key})
	}
	if err == nil {
		return nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = client.Remove(cleanup, &snapshots.RemoveSnapshotRequest{Snapshotter: s.snapshotter, Key: key}) // else it goes with the lease
	if status.Code(err) == codes.AlreadyExists {
		return nil // the CRI service has unpacked it meanwhile, for a pull
	}
	return err
}
