package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// has is all that containerd has, a line each: blobs, unfinished ones, snapshots, names, leases.
func has(ctx context.Context, t *testing.T, r *Runtime) []string {
	t.Helper()
	conn, err := r.Conn()
	if err != nil {
		t.Fatal(err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", imageNamespace)
	var lines []string
	add := func(kind, name string) { lines = append(lines, kind+" "+name) }
	check := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	blobs, err := content.NewContentClient(conn).List(ctx, &content.ListContentRequest{})
	for check(err); ; {
		part, err := blobs.Recv()
		if check(err); err != nil {
			break
		}
		for _, i := range part.Info {
			add("blob", i.Digest)
		}
	}
	unfinished, err := content.NewContentClient(conn).ListStatuses(ctx, &content.ListStatusesRequest{})
	check(err)
	for _, s := range unfinished.Statuses {
		add("unfinished", s.Ref)
	}
	layers, err := snapshots.NewSnapshotsClient(conn).List(ctx, &snapshots.ListSnapshotsRequest{Snapshotter: r.snapshotter()})
	for check(err); ; {
		part, err := layers.Recv()
		if check(err); err != nil {
			break
		}
		for _, i := range part.Info {
			add("snapshot", i.Name)
		}
	}
	names, err := images.NewImagesClient(conn).List(ctx, &images.ListImagesRequest{})
	check(err)
	for _, i := range names.Images {
		add("name", i.Name)
	}
	leased, err := leases.NewLeasesClient(conn).List(ctx, &leases.ListRequest{})
	check(err)
	for _, l := range leased.Leases {
		add("lease", l.ID)
	}
	slices.Sort(lines)
	return lines
}

// collect makes containerd collect its garbage now.
func collect(ctx context.Context, t *testing.T, r *Runtime) {
	t.Helper()
	conn, err := r.Conn()
	if err != nil {
		t.Fatal(err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", imageNamespace)
	client := leases.NewLeasesClient(conn)
	if _, err := client.Create(ctx, &leases.CreateRequest{ID: "collect"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(ctx, &leases.DeleteRequest{ID: "collect", Sync: true}); err != nil {
		t.Fatal(err)
	}
}

// runsIn starts a container of an image and fails unless it runs.
func runsIn(ctx context.Context, t *testing.T, r *Runtime, sandboxID, pod, name string) {
	t.Helper()
	client := runtimes(t, r)
	made, err := client.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandboxID,
		SandboxConfig: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: pod, Uid: pod, Namespace: "default"},
			Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: r.CgroupRoot + "/pod" + pod},
		},
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: strings.ReplaceAll(name, ":", "-")},
			Image:    &runtimeapi.ImageSpec{Image: name}, Linux: &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err == nil {
		_, err = client.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: made.ContainerId})
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s, err := client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: made.ContainerId})
	if err != nil || s.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("%s: %v, %v", name, s, err)
	}
}

func TestImportedImagesRun(t *testing.T) {
	ctx, r := start(t)
	id := sandbox(ctx, t, r, "box")
	for name, l := range map[string]layer{
		"plain:1": pauseLayer(t), "gzip:1": packed(t, pauseLayer(t), gzipped), "zstd:1": packed(t, pauseLayer(t), zstandard),
	} {
		archive := opened(t, saved(t, map[string][]layer{name: {layerOf(t, "below", name), l, layerOf(t, "above", name)}}))
		for range 2 { // a second import of the same changes nothing
			if err := r.Import(ctx, archive); err != nil {
				t.Fatal(err)
			}
		}
		runsIn(ctx, t, r, id, "box", name)
	}
	for _, line := range has(ctx, t, r) {
		if line == "lease "+importLease || strings.HasPrefix(line, "unfinished") {
			t.Errorf("remains: %s", line)
		}
	}
	list, err := r.Images(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 { // with the sandbox's
		t.Errorf("images are %v", list)
	}
}

func TestAnImageOfManyKindsRuns(t *testing.T) {
	ctx, r := start(t)
	if err := r.Import(ctx, opened(t, ofManyKinds(t, "many:1"))); err != nil {
		t.Fatal(err)
	}
	killDaemon(t, r)
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	collect(ctx, t, r)
	runsIn(ctx, t, r, sandbox(ctx, t, r, "box"), "box", "many:1")
}

// TestImportSurvivesARestart: what is unpacked and named is still an image after containerd has read its store anew.
func TestImportSurvivesARestart(t *testing.T) {
	ctx, r := start(t)
	if err := r.Import(ctx, opened(t, saved(t, map[string][]layer{"a:1": {pauseLayer(t)}}))); err != nil {
		t.Fatal(err)
	}
	killDaemon(t, r)
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	collect(ctx, t, r)
	runsIn(ctx, t, r, sandbox(ctx, t, r, "box"), "box", "docker.io/library/a:1")
}

func TestImportMovesAName(t *testing.T) {
	ctx, r := start(t)
	var last string
	for _, text := range []string{"one", "two", "one"} {
		archive := opened(t, saved(t, map[string][]layer{"web:1": {layerOf(t, "f", text)}}))
		if err := r.Import(ctx, archive); err != nil {
			t.Fatal(err)
		}
		found, err := r.image(ctx, "web:1")
		if err != nil || found == nil || found.Id != archive.Images[0].Variants[0].Config.Digest || found.Id == last {
			t.Fatalf("the name stands for %+v, %v; before for %s", found, err, last)
		}
		last = found.Id
	}
}

// TestAFailedImportLeavesNothing: a layer that is not what its configuration says once it is unpacked.
func TestAFailedImportLeavesNothing(t *testing.T) {
	ctx, r := start(t)
	before := has(ctx, t, r)
	bad := packed(t, layerOf(t, "f", "text"), gzipped)
	bad.plain = layerOf(t, "f", "other").plain
	err := r.Import(ctx, opened(t, saved(t, map[string][]layer{"a:1": {pauseLayer(t)}, "b:1": {pauseLayer(t), bad}})))
	if err == nil || !strings.Contains(err.Error(), "docker.io/library/b:1: layer 2") || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("import: %v", err)
	}
	if after := has(ctx, t, r); !slices.Equal(after, before) {
		t.Errorf("remains: %q", after)
	}
}

// TestGarbageCollectionTakesNoHalfImport: nor does an import wait for it.
func TestGarbageCollectionTakesNoHalfImport(t *testing.T) {
	ctx, r := start(t)
	archive, s := half(t)
	ended := make(chan error, 1)
	go func() { ended <- r.Import(ctx, archive) }()
	<-s.at
	before := has(ctx, t, r)
	if !slices.Contains(before, "snapshot "+archive.Images[0].Variants[0].DiffIDs[0]) {
		t.Errorf("the import is not half way: %q", before)
	}
	collect(ctx, t, r)
	if after := has(ctx, t, r); !slices.Equal(after, before) {
		t.Errorf("collected: %q became %q", before, after)
	}
	close(s.free)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	collect(ctx, t, r)
	id := sandbox(ctx, t, r, "box")
	runsIn(ctx, t, r, id, "box", "a:1")
	runsIn(ctx, t, r, id, "box", "b:1")
}

func killDaemon(t *testing.T, r *Runtime) {
	t.Helper()
	trees, err := mountedHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	pid := r.daemon(trees)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "containerd ends", func() bool { return r.daemon(trees) != pid })
}

// noNames fails if the half import made any name.
func noNames(ctx context.Context, t *testing.T, r *Runtime) {
	t.Helper()
	for _, line := range has(ctx, t, r) {
		if strings.HasPrefix(line, "name ") {
			t.Errorf("half an import made %s", line)
		}
	}
}

// complete imports what was imported by half, and fails if it is not then as if there had been no half.
func complete(ctx context.Context, t *testing.T, r *Runtime) {
	t.Helper()
	archive, s := half(t)
	s.armed.Store(false)
	if err := r.Import(ctx, archive); err != nil {
		t.Fatal(err)
	}
	want := []string{"name docker.io/library/a:1", "name docker.io/library/b:1"}
	for _, packed := range archive.Images {
		for _, b := range packed.Blobs {
			want = append(want, "blob "+b.Digest)
		}
		chain := ""
		for _, id := range packed.Variants[0].DiffIDs {
			chain = chainID(chain, id)
			want = append(want, "snapshot "+chain)
		}
		want = append(want, "name "+packed.Variants[0].Config.Digest) // the CRI service's own
	}
	slices.Sort(want)
	want = slices.Compact(want)
	collect(ctx, t, r)
	if got := has(ctx, t, r); !slices.Equal(got, want) {
		t.Errorf("after all there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestContainerdIsLostHalfWay(t *testing.T) {
	ctx, r := start(t)
	archive, s := half(t)
	ended := make(chan error, 1)
	go func() { ended <- r.Import(ctx, archive) }()
	<-s.at
	killDaemon(t, r)
	close(s.free)
	if err := <-ended; err == nil {
		t.Fatal("an import without containerd succeeded")
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection is there again", func() bool { _, err := r.HasImage(ctx, "a:1"); return err == nil })
	noNames(ctx, t, r)
	complete(ctx, t, r)
}

// importerDir tells a process of this test that it is the importer, and where its containerd is.
const importerDir = "FAIRLEAD_TEST_IMPORTER"

func TestAnImporterIsKilledHalfWay(t *testing.T) {
	if dir := os.Getenv(importerDir); dir != "" {
		archive, s := half(t)
		go func() {
			<-s.at
			fmt.Fprintln(os.Stderr, "half way")
		}()
		t.Fatal((&Runtime{Dir: dir, CgroupRoot: "/unused"}).Import(t.Context(), archive))
	}
	ctx, r := start(t)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), importerDir+"="+r.Dir)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 100)); err != nil {
		t.Fatalf("the importer says nothing: %v", err)
	}
	waiting, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := r.Import(waiting, opened(t, saved(t, map[string][]layer{"c:1": {pauseLayer(t)}}))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second importer does not wait for the first: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if _, err := os.Stat(filepath.Join(r.Dir, "import.lock")); err != nil {
		t.Error(err)
	}
	noNames(ctx, t, r)
	complete(ctx, t, r)
}
