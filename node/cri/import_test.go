package cri

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/image"
)

// layer is a layer of an image as an archive has it, and without its compression.
type layer struct{ stored, plain []byte }

// layerOf is a layer of one file.
func layerOf(t *testing.T, name, text string) layer {
	t.Helper()
	plain := tarOf(t, map[string][]byte{name: []byte(text)})
	return layer{plain, plain}
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// pauseLayer has the program /pause.
func pauseLayer(t *testing.T) layer {
	t.Helper()
	text, err := image.Pause()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := image.Open(bytes.NewReader(text), int64(len(text)), "")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(archive.Images[0].Variants[0].Layers[0].Open())
	if err != nil {
		t.Fatal(err)
	}
	return layer{plain, plain}
}

func packed(t *testing.T, l layer, through func(io.Writer) (io.WriteCloser, error)) layer {
	t.Helper()
	var buf bytes.Buffer
	w, err := through(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(l.plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layer{buf.Bytes(), l.plain}
}

func gzipped(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func zstandard(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }

// saved is what docker saves of images that run /pause: each has a name and layers.
func saved(t *testing.T, all map[string][]layer) []byte {
	t.Helper()
	type listed struct {
		Config           string
		RepoTags, Layers []string
	}
	var list []listed
	files := map[string][]byte{}
	for name, layers := range all {
		one := listed{Config: name + ".json", RepoTags: []string{name}}
		var ids []string
		for _, l := range layers {
			file := fmt.Sprintf("%x.tar", sha256.Sum256(l.stored))
			files[file] = l.stored
			one.Layers, ids = append(one.Layers, file), append(ids, digestOf(l.plain))
		}
		config, err := json.Marshal(map[string]any{"architecture": runtime.GOARCH, "os": "linux",
			"config": map[string]any{"Entrypoint": []string{"/pause"}}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
		if err != nil {
			t.Fatal(err)
		}
		files[one.Config], list = config, append(list, one)
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.Config, b.Config) })
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = text
	return tarOf(t, files)
}

func digestOf(text []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(text)) }

func open(t *testing.T, text io.ReaderAt, size int) *image.Archive {
	t.Helper()
	archive, err := image.Open(text, int64(size), "")
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func opened(t *testing.T, text []byte) *image.Archive {
	return open(t, bytes.NewReader(text), len(text))
}

// stall is an archive whose reader hangs, once armed, at a layer: an import that is half way.
type stall struct {
	io.ReaderAt
	from, to int64
	armed    atomic.Bool
	at, free chan struct{}
}

func (s *stall) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= s.from && offset < s.to && s.armed.CompareAndSwap(true, false) {
		close(s.at)
		<-s.free
	}
	return s.ReaderAt.ReadAt(p, offset)
}

// half is an archive of the images a:1, which runs, and b:1, at whose last layer its reader hangs.
func half(t *testing.T) (*image.Archive, *stall) {
	t.Helper()
	last := layerOf(t, "last", strings.Repeat("long ", 1<<20))
	text := saved(t, map[string][]layer{"a:1": {pauseLayer(t)}, "b:1": {pauseLayer(t), last}})
	from := int64(bytes.Index(text, last.stored))
	s := &stall{ReaderAt: bytes.NewReader(text), from: from, to: from + int64(len(last.stored)), at: make(chan struct{}), free: make(chan struct{})}
	archive := open(t, s, len(text))
	s.armed.Store(true)
	return archive, s
}

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
