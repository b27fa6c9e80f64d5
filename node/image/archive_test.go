package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// files of an archive, in order: links begin with "->".
type contents [][2]string

func archiveOf(t *testing.T, files contents) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		header := &tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}
		if target, ok := strings.CutPrefix(f[1], "->"); ok {
			header.Typeflag, header.Linkname, header.Size, f[1] = tar.TypeSymlink, target, 0, ""
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// compressed writes data through a compression.
func compressed(t *testing.T, data []byte, through func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := through(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func zstandard(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }

// parts of images of one layer.
const (
	layer  = "this is the layer"
	layer2 = "and this another"
)

func sum(text string) string {
	d := addBlob(map[string][]byte{}, "", []byte(text))
	return d.Digest
}

// configOf is a configuration for an architecture, with these layers.
func configOf(arch string, layers ...string) string {
	ids := make([]string, len(layers))
	for i, l := range layers {
		ids[i] = sum(l)
	}
	return string(encode(config{Architecture: arch, OS: "linux", RootFS: rootfs{Type: "layers", DiffIDs: ids}}))
}

// docker is what docker saved of an image before it wrote OCI layouts.
func docker(tags string) contents {
	return contents{{"l1/layer.tar", layer}, {"c.json", configOf(runtime.GOARCH, layer, layer)}, {"l2/layer.tar", "->../l1/layer.tar"},
		{"manifest.json", `[{"Config":"c.json","RepoTags":` + tags + `,"Layers":["l1/layer.tar","l2/layer.tar"]}]`}}
}

// put adds a blob to an archive and returns its descriptor.
func put(files *contents, mediaType, text string) descriptor {
	d := descriptor{MediaType: mediaType, Digest: sum(text), Size: int64(len(text))}
	*files = append(*files, [2]string{blobPath(d), text})
	return d
}

// putImage adds an image for an architecture.
func putImage(files *contents, arch, layer string) descriptor {
	m := manifest{SchemaVersion: 2, Config: put(files, mediaConfig, configOf(arch, layer)), Layers: []descriptor{put(files, mediaLayer, layer)}}
	return put(files, mediaManifest, string(encode(m)))
}

// oci is an OCI layout that lists these.
func oci(files contents, listed ...descriptor) contents {
	return append(files, [2]string{"./index.json", string(encode(index{SchemaVersion: 2, Manifests: listed}))})
}

func called(d descriptor, annotations ...string) descriptor {
	d.Annotations = map[string]string{}
	for i := 0; i < len(annotations); i += 2 {
		d.Annotations[annotations[i]] = annotations[i+1]
	}
	return d
}

func ociNamed(annotations ...string) contents {
	var files contents
	d := putImage(&files, runtime.GOARCH, layer)
	return oci(files, called(d, annotations...))
}

// manyKinds is an image of several architectures, of which the archive has one.
func manyKinds(has, lacks string) contents {
	var files, elsewhere contents
	here, there := putImage(&files, has, layer), putImage(&elsewhere, lacks, layer2)
	attestation := descriptor{MediaType: mediaManifest, Digest: sum("x"), Size: 1, Platform: &platform{"unknown", "unknown", ""}}
	here.Platform, there.Platform = &platform{has, "linux", ""}, &platform{lacks, "linux", ""}
	list := put(&files, mediaIndex, string(encode(index{SchemaVersion: 2, Manifests: []descriptor{there, here, attestation}})))
	return oci(files, called(list, annotationCRI, "many:1"))
}

// otherArch is one this machine does not run.
const otherArch = "s390x"

func opened(t *testing.T, archive []byte) (*Archive, error) {
	t.Helper()
	plain, err := Plain(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		return nil, err
	}
	return Open(bytes.NewReader(text), int64(len(text)), NameOf("/tmp/My_App.tar.gz"))
}

func TestNamesInArchives(t *testing.T) {
	both := ociNamed()
	both = append(both, [2]string{"manifest.json", `[{"Config":"c.json","RepoTags":["web:2"]}]`})
	var two contents
	a, b := putImage(&two, runtime.GOARCH, layer), putImage(&two, runtime.GOARCH, layer2)
	var kinds contents
	mine, foreign := called(putImage(&kinds, runtime.GOARCH, layer), annotationCRI, "a:1"), called(putImage(&kinds, otherArch, layer2), annotationCRI, "a:1")
	for _, test := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"docker save, bare tag", archiveOf(t, docker(`["nginx:1.25"]`)), "docker.io/library/nginx:1.25"},
		{"docker save, two tags", archiveOf(t, docker(`["nginx", "ghcr.io/a/b:1"]`)), "docker.io/library/nginx:latest ghcr.io/a/b:1"},
		{"docker save, no name", archiveOf(t, docker("null")), "docker.io/library/my-app:latest"},
		{"gzip", compressed(t, archiveOf(t, docker(`["nginx:1.25"]`)), gzipped), "docker.io/library/nginx:1.25"},
		{"zstd", compressed(t, archiveOf(t, docker(`["nginx:1.25"]`)), zstandard), "docker.io/library/nginx:1.25"},
		{"OCI, bare tag", archiveOf(t, ociNamed(annotationRef, "nginx:1.25")), "docker.io/library/nginx:1.25"},
		{"OCI, only a tag", archiveOf(t, ociNamed(annotationRef, "1.25")), "docker.io/library/my-app:latest"},
		{"OCI, containerd's name", archiveOf(t, ociNamed(annotationCRI, "a.example/b:1", annotationRef, "1")), "a.example/b:1"},
		{"OCI without a name, docker's list with one", archiveOf(t, both), "docker.io/library/web:2"},
		{"two without a name", archiveOf(t, oci(two, a, b)), "docker.io/library/my-app:latest docker.io/library/my-app-1:latest"},
		{"one name for two images", archiveOf(t, oci(two, called(a, annotationCRI, "x:1"), called(b, annotationCRI, "x:1"))), "docker.io/library/x:1"},
		{"one name for two architectures", archiveOf(t, oci(kinds, mine, foreign)), "docker.io/library/a:1"},
		{"an index of which one kind is there", archiveOf(t, manyKinds(runtime.GOARCH, otherArch)), "docker.io/library/many:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive, err := opened(t, test.archive)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, packed := range archive.Images {
				names = append(names, packed.Names...)
				whole(t, packed)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// whole fails unless every blob is what it says, comes after what it refers to, and makes up the image.
func whole(t *testing.T, packed Packed) {
	t.Helper()
	seen := map[string]bool{}
	for _, b := range packed.Blobs {
		if found, err := digest(b); err != nil || found != b.Digest {
			t.Errorf("%s reads as %s, %v", b.Digest, found, err)
		}
		for _, refers := range b.Refers {
			if !seen[refers] {
				t.Errorf("%s refers to %s, which does not come before it", b.Digest, refers)
			}
		}
		seen[b.Digest] = true
	}
	for _, v := range packed.Variants {
		if len(v.Layers) == 0 || len(v.Layers) != len(v.DiffIDs) || !seen[v.Config.Digest] || !seen[v.Layers[0].Digest] {
			t.Errorf("variant %+v is not among the blobs", v)
		}
	}
	if len(packed.Variants) == 0 || len(packed.Target().Refers) == 0 {
		t.Errorf("%v has nothing to run", packed.Names)
	}
}

// TestTheFittestVariant: of several that this machine runs, its own architecture's plainest is unpacked.
func TestTheFittestVariant(t *testing.T) {
	var files contents
	var listed []descriptor
	for i, p := range []platform{{otherArch, "linux", ""}, {runtime.GOARCH, "linux", "v9"}, {runtime.GOARCH, "linux", ""}, {runtime.GOARCH, "windows", ""}} {
		d := putImage(&files, p.Architecture, fmt.Sprint("layer ", i))
		d.Platform = &p
		listed = append(listed, d)
	}
	list := put(&files, mediaIndex, string(encode(index{SchemaVersion: 2, Manifests: listed})))
	archive, err := opened(t, archiveOf(t, oci(files, list)))
	if err != nil {
		t.Fatal(err)
	}
	got := archive.Images[0].Variants
	if len(got) != 2 || got[0].DiffIDs[0] != sum("layer 2") || got[1].DiffIDs[0] != sum("layer 1") {
		t.Errorf("variants are %+v", got)
	}
	if refers := archive.Images[0].Target().Refers; !slices.Equal(refers, []string{listed[2].Digest, listed[1].Digest}) {
		t.Errorf("the index keeps %v", refers)
	}
}

func TestRefusedArchives(t *testing.T) {
	edited := func(files contents, name, from, to string) []byte {
		files = slices.Clone(files)
		for i := range files {
			if strings.Contains(files[i][0], name) {
				files[i][1] = strings.ReplaceAll(files[i][1], from, to)
			}
		}
		return archiveOf(t, files)
	}
	good := ociNamed(annotationCRI, "a:1")
	lacking := slices.DeleteFunc(slices.Clone(good), func(f [2]string) bool { return f[1] == layer })
	packed := compressed(t, archiveOf(t, good), gzipped)
	zpacked := compressed(t, archiveOf(t, good), zstandard)
	var foreign, artifact contents
	alien := called(putImage(&foreign, otherArch, layer), annotationCRI, "a:1")
	chart := manifest{SchemaVersion: 2, Config: put(&artifact, "application/x", "{}"), Layers: []descriptor{put(&artifact, mediaLayer, layer)}}
	notImage := put(&artifact, mediaManifest, string(encode(chart)))
	for _, test := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"bad name", archiveOf(t, docker(`["A B"]`)), "is not a name of an image"},
		{"no list", archiveOf(t, contents{{"x", "y"}}), "neither index.json nor manifest.json"},
		{"empty list", archiveOf(t, oci(nil)), "lists no image"},
		{"empty", nil, "it is empty"},
		{"no tar", []byte("hello, world"), "not a tar"},
		{"half a tar", archiveOf(t, good)[:700], "not all of one"},
		{"half a gzip", packed[:len(packed)/2], "unexpected EOF"},
		{"half a zstd", zpacked[:len(zpacked)/2], "unexpected EOF"},
		{"a layer that changed", edited(good, "blobs", layer, "thus is the layer"), sum(layer) + " is damaged"},
		{"a layer that grew", edited(good, "blobs", layer, layer+"!"), sum(layer) + " is damaged"},
		{"a layer that is missing", archiveOf(t, lacking), "is not in the archive"},
		{"docker save, a layer that changed", edited(docker(`["a:1"]`), "layer.tar", layer, layer2), "layer 1 of"},
		{"docker save, a layer too few", edited(docker(`["a:1"]`), "manifest", `,"l2/layer.tar"`, ""), "knows 2 layers and has 1"},
		{"docker save, a link to itself", edited(docker(`["a:1"]`), "l2", "l1", "l2"), "is not in the archive"},
		{"docker save, a file outside", edited(docker(`["a:1"]`), "l2", "->../l1/layer.tar", "->../../../../etc/passwd"), "is not in the archive"},
		{"another digest", edited(good, "index", "sha256:", "md5:"), "is not a digest that can be read"},
		{"a digest that is a path", edited(good, "index", "sha256:", "sha256:../"), "is not a digest that can be read"},
		{"another architecture", archiveOf(t, oci(foreign, alien)), "docker.io/library/a:1: the image is for linux/s390x: it cannot be run"},
		{"an index of another architecture", archiveOf(t, manyKinds(otherArch, "ppc64le")), "is for linux/ppc64le"},
		{"an index without what this machine runs", archiveOf(t, manyKinds(otherArch, runtime.GOARCH)), "is not in the archive"},
		{"no image", archiveOf(t, oci(artifact, notImage)), "no image of a container"},
		{"a list in the place of an image", archiveOf(t, oci(artifact, descriptor{Digest: sum("{}"), Size: 2})), "neither a manifest nor an index"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if archive, err := opened(t, test.archive); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v; want %s", archive, err, test.want)
			}
		})
	}
}
