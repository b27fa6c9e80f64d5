package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testSpec() Spec {
	return Spec{
		Refs: []string{"docker.io/library/nginx:latest", "docker.io/library/nginx:1.14.1"},
		Arch: "amd64",
		Rootfs: []File{
			{Path: "usr/bin/tool", Mode: 0o755, Data: []byte("tool")},
			{Path: "bin/sh", Mode: fs.ModeSymlink | 0o777, Target: "../usr/bin/tool"},
			{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		},
		Entrypoint: []string{"/usr/bin/tool"}, Cmd: []string{"-x"}, Env: []string{"A=b"},
		WorkingDir: "/tmp", User: "1:2", Ports: []string{"80/tcp"},
	}
}

func build(t *testing.T, spec Spec) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Build(&buf, spec); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// untar returns the archive's entries in order and their contents.
func untar(t *testing.T, data []byte) ([]*tar.Header, map[string][]byte) {
	t.Helper()
	var headers []*tar.Header
	content := map[string][]byte{}
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return headers, content
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		if content[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSameSpecSameBytes(t *testing.T) {
	spec := testSpec()
	first := build(t, spec)
	spec.Rootfs[0], spec.Rootfs[2] = spec.Rootfs[2], spec.Rootfs[0]
	if !bytes.Equal(first, build(t, spec)) {
		t.Error("the order of the files changed the archive")
	}
	spec.Rootfs[0].Mode ^= 0o001
	if bytes.Equal(first, build(t, spec)) {
		t.Error("another mode gave the same archive")
	}
}

func TestArchiveIsAnImageLayout(t *testing.T) {
	_, content := untar(t, build(t, testSpec()))
	for name, data := range content {
		sum := sha256.Sum256(data)
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && digest != "" && digest != hex.EncodeToString(sum[:]) {
			t.Errorf("%s holds %x", name, sum)
		}
	}
	var idx index
	unmarshal(t, content["index.json"], &idx)
	var refs []string
	for _, m := range idx.Manifests {
		refs = append(refs, m.Annotations[annotationCRI]+" "+m.Annotations[annotationRef])
	}
	if got, want := strings.Join(refs, ","), "docker.io/library/nginx:latest latest,docker.io/library/nginx:1.14.1 1.14.1"; got != want {
		t.Errorf("references are %s, want %s", got, want)
	}
	var m manifest
	unmarshal(t, content[blobPath(idx.Manifests[0])], &m)
	var c config
	unmarshal(t, content[blobPath(m.Config)], &c)
	if len(m.Layers) != 1 || len(c.RootFS.DiffIDs) != 1 || m.Layers[0].Digest != c.RootFS.DiffIDs[0] {
		t.Errorf("layers %v and diff ids %v do not agree", m.Layers, c.RootFS.DiffIDs)
	}
	if got := strings.Join(c.Config.Env, " "); got != defaultPath+" A=b" {
		t.Errorf("environment is %s", got)
	}
	if c.Config.User != "1:2" || c.Config.WorkingDir != "/tmp" || c.Config.Entrypoint[0] != "/usr/bin/tool" || c.Config.Cmd[0] != "-x" {
		t.Errorf("config is %+v", c.Config)
	}
	var docker []dockerManifest
	unmarshal(t, content["manifest.json"], &docker)
	if len(docker) != 1 || docker[0].Config != blobPath(m.Config) || docker[0].Layers[0] != blobPath(m.Layers[0]) {
		t.Errorf("manifest.json is %+v", docker)
	}

	layer, _ := untar(t, content[blobPath(m.Layers[0])])
	var names []string
	for _, h := range layer {
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: uid %d gid %d time %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
	}
	if got, want := strings.Join(names, " "), "bin/ bin/sh tmp/ usr/ usr/bin/ usr/bin/tool"; got != want {
		t.Errorf("layer holds %s, want %s", got, want)
	}
	if layer[2].Mode != 0o1777 || layer[1].Linkname != "../usr/bin/tool" || layer[5].Mode != 0o755 {
		t.Errorf("modes or link targets are lost: %+v", layer)
	}
}

func unmarshal(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}

func TestBuildRefuses(t *testing.T) {
	twice := testSpec()
	twice.Rootfs = append(twice.Rootfs, File{Path: "/usr/bin/../bin/tool"})
	nameless := testSpec()
	nameless.Refs = nil
	for want, spec := range map[string]Spec{"two files of this name": twice, "no reference given": nameless} {
		if err := Build(io.Discard, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestDirReadsATree(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte("root"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/stdout", filepath.Join(root, "etc", "log")); err != nil {
		t.Fatal(err)
	}
	files, err := Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]File{}
	for _, f := range files {
		got[f.Path] = f
	}
	if f := got["etc/passwd"]; string(f.Data) != "root" || f.Mode != 0o640 {
		t.Errorf("etc/passwd is %+v", f)
	}
	if f := got["etc/log"]; f.Target != "/dev/stdout" {
		t.Errorf("etc/log is %+v", f)
	}
	if f := got["etc/deep"]; !f.Mode.IsDir() || len(got) != 4 {
		t.Errorf("files are %+v", got)
	}
}
