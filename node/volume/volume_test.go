package volume

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/spec"
)

func TestWriteFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v")
	group := int64(4711)
	files := []spec.File{{Path: "a/b", Data: []byte("one"), Mode: 0o400}, {Path: "/c", Data: []byte("two"), Mode: 0o644}}
	if err := writeFiles(dir, files, nil); err != nil {
		t.Fatal(err)
	}
	files[0].Data = []byte("three")
	if err := writeFiles(dir, files, &group); err != nil { // again, over what can only be read
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a", "b")); err != nil || string(text) != "three" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a", "b")); err != nil || info.Mode().Perm() != 0o440 {
		t.Errorf("%v, %v: the group may not read it", info.Mode(), err)
	}
	for _, path := range []string{"../out", "a/../../out", "link/out"} {
		if err := os.RemoveAll(filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		// A file below a link takes its place: what a version has lies in a directory of its own.
		if err := writeFiles(dir, []spec.File{{Path: path}}, nil); (err == nil) != (path == "link/out") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "out")); !os.IsNotExist(err) {
		t.Errorf("something lies outside of the volume: %v", err)
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		kind corev1.HostPathType
		path string
		ok   bool
	}{
		{corev1.HostPathUnset, filepath.Join(dir, "none"), true},
		{corev1.HostPathDirectory, dir, true}, {corev1.HostPathDirectory, file, false}, {corev1.HostPathDirectory, filepath.Join(dir, "none"), false},
		{corev1.HostPathDirectoryOrCreate, filepath.Join(dir, "made", "too"), true}, {corev1.HostPathDirectoryOrCreate, file, false},
		{corev1.HostPathFile, file, true}, {corev1.HostPathFile, dir, false},
		{corev1.HostPathFileOrCreate, filepath.Join(dir, "new"), true}, {corev1.HostPathFileOrCreate, dir, false},
		{corev1.HostPathSocket, file, false}, {corev1.HostPathCharDev, "/dev/null", true}, {corev1.HostPathCharDev, file, false}, {corev1.HostPathBlockDev, "/dev/null", false},
		{"Other", file, false},
	} {
		if err := checkHostPath(&corev1.HostPathVolumeSource{Path: test.path, Type: &test.kind}); (err == nil) != test.ok {
			t.Errorf("%s %s: %v", test.kind, test.path, err)
		}
	}
	for path, isDir := range map[string]bool{"made/too": true, "new": false} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.IsDir() != isDir {
			t.Errorf("%s was not made: %v", path, err)
		}
	}
}

// TestNested: the place of a mount is made beforehand only in a volume of the pod that may be read and no more; the innermost counts.
func TestNested(t *testing.T) {
	at := func(path, source string, readOnly bool) *runtimeapi.Mount {
		return &runtimeapi.Mount{ContainerPath: path, HostPath: source, Readonly: readOnly}
	}
	mounts := []*runtimeapi.Mount{
		at("/a/b/c/", "/v/inner", true), at("/a", "/v/outer", true), at("/a/b", "/v/middle", true), at("/ab", "/v/other", true),
		at("/h", "/host", true), at("/h/x", "/v/x", false), at("/w", "/v/w", false), at("/w/x", "/v/y", true),
	}
	got := map[string]string{}
	for _, n := range nested(mounts, "/v") {
		got[n.mount.HostPath] = n.parent.HostPath + " " + n.below
	}
	want := map[string]string{"/v/inner": "/v/middle c", "/v/middle": "/v/outer b"}
	if len(got) != len(want) || got["/v/inner"] != want["/v/inner"] || got["/v/middle"] != want["/v/middle"] {
		t.Errorf("got %v, want %v", got, want)
	}
	sortByDepth(mounts)
	if mounts[len(mounts)-1].HostPath != "/v/inner" || mounts[0].HostPath != "/v/outer" {
		t.Errorf("order %v", mounts)
	}
}
