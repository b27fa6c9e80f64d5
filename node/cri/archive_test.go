package cri

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

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

// ofManyKinds is an OCI layout of an image for several architectures, of which only this machine's is there.
func ofManyKinds(t *testing.T, name string) []byte {
	t.Helper()
	files := map[string][]byte{}
	put := func(text []byte) string {
		files["blobs/sha256/"+strings.TrimPrefix(digestOf(text), "sha256:")] = text
		return digestOf(text)
	}
	var target image.Blob
	for _, b := range opened(t, saved(t, map[string][]layer{name: {pauseLayer(t)}})).Images[0].Blobs {
		text, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		put(text)
		target = b
	}
	kind := func(digest string, size int64, arch string) map[string]any {
		return map[string]any{"mediaType": target.MediaType, "digest": digest, "size": size, "platform": map[string]string{"os": "linux", "architecture": arch}}
	}
	index := func(manifests ...map[string]any) []byte {
		text, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	list := index(kind(digestOf(nil), 500, "s390x"), kind(target.Digest, target.Size, runtime.GOARCH), kind(digestOf([]byte("x")), 500, "unknown"))
	files["index.json"] = index(map[string]any{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": put(list), "size": len(list),
		"annotations": map[string]string{"io.containerd.image.name": name}})
	return tarOf(t, files)
}
