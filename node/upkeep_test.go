package node

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/imagegc"
	"fairlead.dev/fairlead/node/spec"
)

// TestTidyLogs: of the logs that were moved aside the newest stay, compressed, and nothing of what an agent did not end.
func TestTidyLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write := func(name, text string) {
		if err := os.WriteFile(path+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("", "now")
	for day := range 6 {
		write(fmt.Sprintf(".2026010%d-000000.000", day), fmt.Sprint("text of day ", day))
	}
	write(".20260101-000000.000.tmp", "half")
	for range 2 {
		if err := tidyLogs(path); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := filepath.Glob(path + ".*")
	if len(left) != maxLogFiles-2 {
		t.Fatalf("left %v", left)
	}
	for i, name := range left {
		if want := fmt.Sprintf("%s.2026010%d-000000.000.gz", path, i+3); name != want {
			t.Errorf("%s, want %s", name, want)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if unpacked, err := gzip.NewReader(f); err != nil {
			t.Error(err)
		} else if text, err := io.ReadAll(unpacked); err != nil || string(text) != fmt.Sprint("text of day ", i+3) {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestLogsAreRotated: a log that has grown too long is moved aside, and who follows it misses nothing.
func TestLogsAreRotated(t *testing.T) {
	b := newBench(t)
	b.create(pod("talks"))
	running := b.await("talks", "runs", running)
	path := filepath.Join(b.agent.logDir(running), spec.LogPath("c", 0))
	id := strings.TrimPrefix(running.Status.ContainerStatuses[0].ContainerID, "containerd://")
	for range 3 {
		if err := b.agent.rotateLog(b.ctx, id, path); err != nil {
			t.Fatal(err)
		}
	}
	old, _ := filepath.Glob(path + ".*")
	if _, err := os.Stat(path); err != nil || len(old) != 3 || !strings.HasSuffix(old[0], ".gz") || strings.HasSuffix(old[2], ".gz") {
		t.Errorf("%v, %v", old, err)
	}
}

// TestImagesAreCollected: when the disk is full, images go that no container has; those of running pods and of sandboxes stay.
func TestImagesAreCollected(t *testing.T) {
	b, s := newBench(t), newShelf(t, false)
	name := s.host() + "/app:1"
	b.create(pulling("once", name, corev1.PullIfNotPresent))
	b.await("once", "runs", running)
	b.create(pod("stays"))
	b.await("stays", "runs", running)
	history := imagegc.History{}
	collect := func(excess int64, now time.Time) error { return b.agent.collectImages(b.ctx, history, excess, now) }
	if err := collect(1, time.Now()); err == nil || !strings.Contains(err.Error(), "only found 0 bytes eligible") {
		t.Errorf("all are in use: %v", err)
	}
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "once", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.gone("once")
	there, err := b.agent.runtime.Images.ImageStatus(b.ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil || there.Image == nil {
		t.Fatal(there, err)
	}
	b.until("the container is removed", func() bool {
		_, inUse, err := b.agent.imagesNow(b.ctx)
		return err == nil && !inUse[there.Image.Id]
	})
	if err := collect(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := collect(1, time.Now()); err == nil {
		t.Error("an image that is young is removed")
	}
	if err := collect(1<<40, time.Now().Add(imagegc.MinAge)); err == nil {
		t.Error("more than there is was freed")
	}
	for ref, want := range map[string]bool{name: false, appImage: true, cri.PauseImage: true} {
		if has, err := b.containerd.HasImage(b.ctx, ref); err != nil || has != want {
			t.Errorf("%s is there: %v, %v, want %v", ref, has, err, want)
		}
	}
	b.create(pulling("again", name, corev1.PullIfNotPresent))
	b.await("again", "runs", running)
}
