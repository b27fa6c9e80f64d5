package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// archiveOf is a tar of these files.
func archiveOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestNormalize(t *testing.T) {
	docker := func(tags string) map[string]string {
		return map[string]string{"manifest.json": `[{"Config":"c.json","RepoTags":` + tags + `,"Layers":["l.tar"]}]`, "l.tar": "layer"}
	}
	index := func(annotations string) map[string]string {
		return map[string]string{"oci-layout": "{}", "./index.json": `{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1,"annotations":` + annotations + `}]}`}
	}
	both := index("{}")
	both["manifest.json"] = docker(`["web:2"]`)["manifest.json"]
	for _, test := range []struct {
		name    string
		archive []byte
		want    string // names, or the error's words
	}{
		{"docker save, bare tag", archiveOf(t, docker(`["nginx:1.25"]`)), "docker.io/library/nginx:1.25"},
		{"docker save, two tags", archiveOf(t, docker(`["nginx", "ghcr.io/a/b:1"]`)), "docker.io/library/nginx:latest ghcr.io/a/b:1"},
		{"docker save, no name", archiveOf(t, docker("null")), "docker.io/library/my-app:latest"},
		{"gzip", zipped(t, archiveOf(t, docker(`["nginx:1.25"]`))), "docker.io/library/nginx:1.25"},
		{"OCI, bare tag", archiveOf(t, index(`{"org.opencontainers.image.ref.name":"nginx:1.25"}`)), "docker.io/library/nginx:1.25"},
		{"OCI, only a tag", archiveOf(t, index(`{"org.opencontainers.image.ref.name":"1.25"}`)), "docker.io/library/my-app:latest"},
		{"OCI, containerd's name", archiveOf(t, index(`{"io.containerd.image.name":"a.example/b:1","org.opencontainers.image.ref.name":"1"}`)), "a.example/b:1"},
		{"OCI without a name, docker's list with one", archiveOf(t, both), "docker.io/library/web:2"},
		{"bad name", archiveOf(t, docker(`["A B"]`)), "is not a name of an image"},
		{"no list", archiveOf(t, map[string]string{"x": "y"}), "neither index.json nor manifest.json"},
		{"empty", nil, "it is empty"},
		{"no tar", []byte("hello, world"), "not a tar"},
		{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0}, "compressed with zstd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spool, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer spool.Close()
			var out bytes.Buffer
			names, err := Normalize(&out, bytes.NewReader(test.archive), spool, NameOf("/tmp/My_App.tar.gz"))
			if got := strings.Join(names, " "); err == nil && got != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %q, %v; want %s", got, err, test.want)
			}
			if err != nil {
				return
			}
			again, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if same, err := Normalize(io.Discard, &out, again, "other"); err != nil || !slices.Equal(same, names) {
				t.Errorf("once more: %q, %v", same, err)
			}
		})
	}
}
