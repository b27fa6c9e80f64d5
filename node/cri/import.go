package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"fairlead.dev/fairlead/node/image"
)

// Import loads the images of an archive, unpacks them, and returns when the CRI service knows them by their names; a name that stood
// for another image stands for the new one. An image gets its names only once all of it is there, and until then a lease keeps its
// parts from containerd's garbage collection. When an import fails, its parts go with the lease; when its process dies, with the
// next import, or after a day.
func (r *Runtime) Import(ctx context.Context, archive *image.Archive) error {
	if err := r.load(ctx, archive); err != nil {
		return fmt.Errorf("image import: %w", err)
	}
	return nil
}

func (r *Runtime) load(ctx context.Context, archive *image.Archive) error {
	conn, err := r.Conn()
	if err != nil {
		return err
	}
	unlock, err := r.lockImport(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s := &store{Conn: conn, snapshotter: r.snapshotter(), name: fmt.Sprintf("%s-%d", importLease, time.Now().UnixNano())}
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", imageNamespace)
	if err := s.lease(ctx); err != nil {
		return err
	}
	err = s.load(metadata.AppendToOutgoingContext(ctx, "containerd-lease", importLease), archive)
	if err == nil {
		err = r.awaitImages(ctx, archive)
	}
	return errors.Join(err, s.release(ctx, err != nil))
}

// awaitImages waits for the CRI service to take notice of all that was loaded.
func (r *Runtime) awaitImages(ctx context.Context, archive *image.Archive) error {
	for _, packed := range archive.Images {
		ids := make([]string, len(packed.Variants)) // which one it takes is for containerd to say
		for i, v := range packed.Variants {
			ids[i] = v.Config.Digest
		}
		for _, name := range packed.Names {
			if err := r.awaitImage(ctx, name, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockImport makes imports of one node take turns, so that a lease that is found is that of a process that died.
func (r *Runtime) lockImport(ctx context.Context) (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(r.Dir, "import.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { lock.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another import is under way: %w", ctx.Err()), lock.Close())
		case <-time.After(wait):
		}
	}
}

// Names in containerd: the namespace of the CRI service; the lease of an import; what keeps a lease, a blob or a snapshot from being
// collected (docs/garbage-collection.md of containerd).
const (
	imageNamespace = "k8s.io"
	importLease    = "fairlead-import"
	labelExpire    = "containerd.io/gc.expire"
	labelContent   = "containerd.io/gc.ref.content."
	labelSnapshot  = "containerd.io/gc.ref.snapshot."
)

// leaseTime is how long the parts of an import that was killed are kept at most.
const leaseTime = 24 * time.Hour

// store is containerd as an import sees it: its own services, below the CRI service.
type store struct {
	Conn        grpc.ClientConnInterface
	snapshotter string
	name        string // of this import: of what it writes until that is whole
}

// lease begins an import. What an import left that was killed is removed.
func (s *store) lease(ctx context.Context) error {
	client := leases.NewLeasesClient(s.Conn)
	_, err := client.Delete(ctx, &leases.DeleteRequest{ID: importLease, Sync: true})
	if err != nil && status.Code(err) != codes.NotFound {
		return err
	}
	expire := time.Now().Add(leaseTime).UTC().Format(time.RFC3339)
	_, err = client.Create(ctx, &leases.CreateRequest{ID: importLease, Labels: map[string]string{labelExpire: expire}})
	return err
}

// release ends an import, and removes at once what came of a failed one. It does not depend on the context's end, and waits a moment
// for a containerd that is started again.
func (s *store) release(ctx context.Context, failed bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := leases.NewLeasesClient(s.Conn).Delete(ctx, &leases.DeleteRequest{ID: importLease, Sync: failed}, grpc.WaitForReady(true))
	if failed {
		return nil // the failure matters; the next import does it
	}
	return err
}

// load brings in everything, then the names.
func (s *store) load(ctx context.Context, archive *image.Archive) error {
	for _, packed := range archive.Images {
		for _, b := range packed.Blobs {
			if err := s.write(ctx, b); err != nil {
				return fmt.Errorf("%s: %w", b.Digest, err)
			}
		}
		if err := s.unpack(ctx, packed.Variants[0]); err != nil {
			return fmt.Errorf("%s: %w", packed.Names[0], err)
		}
	}
	for _, packed := range archive.Images {
		for _, name := range packed.Names {
			if err := s.tag(ctx, name, packed.Target()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// tag makes a name stand for an image.
func (s *store) tag(ctx context.Context, name string, target image.Blob) error {
	client := images.NewImagesClient(s.Conn)
	record := &images.Image{Name: name, Target: descriptor(target)}
	_, err := client.Create(ctx, &images.CreateImageRequest{Image: record})
	if status.Code(err) != codes.AlreadyExists {
		return err
	}
	_, err = client.Update(ctx, &images.UpdateImageRequest{Image: record, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"target"}}})
	return err
}

func descriptor(b image.Blob) *types.Descriptor {
	return &types.Descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
}

// chunk is how much is written by one message, in bytes; containerd takes messages of 16 MiB.
const chunk = 1 << 20

// write brings in a blob, with references to what it needs. containerd compares its content with its digest.
func (s *store) write(ctx context.Context, b image.Blob) error {
	labels := map[string]string{}
	for i, digest := range b.Refers {
		labels[fmt.Sprint(labelContent, i)] = digest
	}
	err := s.send(ctx, b, labels)
	if status.Code(err) != codes.AlreadyExists {
		return err
	}
	return s.label(ctx, b.Digest, labels) // which is the lease's too, as of now
}

// send writes a blob message by message; each has an answer.
func (s *store) send(ctx context.Context, b image.Blob, labels map[string]string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := content.NewContentClient(s.Conn).Write(ctx)
	if err != nil {
		return err
	}
	message := content.WriteContentRequest{Action: content.WriteAction_STAT, Ref: s.name + "/" + b.Digest, Total: b.Size, Expected: b.Digest}
	source, buffer := b.Open(), make([]byte, min(chunk, max(b.Size, 1)))
	for {
		if err := stream.Send(&message); err != nil && !errors.Is(err, io.EOF) { // with io.EOF the answer has the reason
			return err
		}
		if _, err := stream.Recv(); err != nil || message.Action == content.WriteAction_COMMIT {
			return err
		}
		message.Offset += int64(len(message.Data))
		n, err := io.ReadFull(source, buffer)
		switch {
		case n > 0:
			message.Action, message.Data = content.WriteAction_WRITE, buffer[:n]
		case errors.Is(err, io.EOF):
			message.Action, message.Data, message.Labels = content.WriteAction_COMMIT, nil, labels
		default:
			return err
		}
	}
}

// label adds to the labels of a blob.
func (s *store) label(ctx context.Context, digest string, labels map[string]string) error {
	if len(labels) == 0 {
		return nil
	}
	mask := &fieldmaskpb.FieldMask{}
	for key := range labels {
		mask.Paths = append(mask.Paths, "labels."+key)
	}
	info := &content.Info{Digest: digest, Labels: labels}
	_, err := content.NewContentClient(s.Conn).Update(ctx, &content.UpdateRequest{Info: info, UpdateMask: mask})
	return err
}
