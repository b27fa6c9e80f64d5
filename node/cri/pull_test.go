package cri

import (
	"bytes"
	"strings"
	"testing"

	"fairlead.dev/fairlead/node/image"
)

// TestRemove: a name goes alone while the image has others; then the image; what every pod needs stays.
func TestRemove(t *testing.T) {
	ctx, r := start(t)
	var archive bytes.Buffer
	if err := image.Build(&archive, image.Spec{Refs: []string{"docker.io/library/a:1", "b.example/a:1"}, Entrypoint: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Ensure(ctx, archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	remove := func(ref string, want bool, left ...string) {
		t.Helper()
		found, err := r.Remove(ctx, ref)
		if err != nil || found != want {
			t.Errorf("%s: %v, %v", ref, found, err)
		}
		for _, name := range left {
			if has, err := r.HasImage(ctx, name); err != nil || !has {
				t.Errorf("after %s: %s is not there: %v", ref, name, err)
			}
		}
		if has, err := r.HasImage(ctx, ref); err != nil || has {
			t.Errorf("%s is there: %v", ref, err)
		}
	}
	remove("c.example/a:1", false, "a:1", "b.example/a:1")
	remove("a:1", true, "b.example/a:1")
	remove("b.example/a:1", true)
	remove("b.example/a:1", false)
	if _, err := r.Pull(ctx, "127.0.0.1:1/a:1", nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("pull from nobody: %v", err)
	}
	pause, err := image.Pause()
	if err == nil {
		err = r.Ensure(ctx, pause)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Remove(ctx, PauseImage); err == nil || !strings.Contains(err.Error(), "every pod's sandbox") {
		t.Errorf("the sandboxes' image: %v", err)
	}
}
