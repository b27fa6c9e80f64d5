// Package image builds container images without a registry, a daemon or a
// compiler: a list of files and a few settings become one archive that
// containerd, docker (`docker load`) and every other reader of the OCI image
// layout take. It also reads archives, those of the OCI layout and those that
// docker saved before it knew that.
//
// The same Spec always gives the same bytes: files are sorted, belong to
// root, carry the epoch as their time, and layers are stored uncompressed.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// Spec says what an image holds and how a container of it starts.
type Spec struct {
	// Refs are the full names of the image, such as
	// "docker.io/library/nginx:latest"; one archive may carry several.
	Refs []string
	// Arch is the GOARCH of the programs inside; empty means this machine's.
	Arch string
	// Rootfs are the files of its single layer; Dir reads them from a directory.
	Rootfs []File
	// Entrypoint, Cmd, Env ("KEY=value"), WorkingDir and User are the
	// defaults of a container, as in a Dockerfile.
	Entrypoint, Cmd, Env []string
	WorkingDir, User     string
	// StopSignal is the signal that asks the main process to end; empty means SIGTERM.
	StopSignal string
	// Ports are the ports it serves, as "80/tcp"; they are documentation only.
	Ports []string
}

// Media types and annotations of the OCI image specification 1.0, and the
// annotation by which containerd learns an image's full name.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
	annotationRef = "org.opencontainers.image.ref.name"
	annotationCRI = "io.containerd.image.name"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type config struct {
	Created      string          `json:"created"`
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	Config       containerConfig `json:"config"`
	RootFS       rootfs          `json:"rootfs"`
	History      []history       `json:"history"`
}

type containerConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

type rootfs struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// dockerManifest is one entry of manifest.json, the index of the older
// docker archive format; readers that know the OCI layout ignore it.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// defaultPath is the PATH of a container whose image sets none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// epoch is the time stamp of everything in an image.
var epoch = time.Unix(0, 0).UTC()

// Build writes the image that spec describes to w, as an OCI image layout in
// a tar that also carries docker's manifest.json.
func Build(w io.Writer, spec Spec) error {
	if len(spec.Refs) == 0 {
		return errors.New("build image: no reference given: name it, as in docker.io/library/nginx:latest")
	}
	if spec.Arch == "" {
		spec.Arch = runtime.GOARCH
	}
	layer, err := layerTar(spec.Rootfs)
	if err != nil {
		return fmt.Errorf("build image %s: %w", spec.Refs[0], err)
	}
	blobs := map[string][]byte{}
	layerDesc := addBlob(blobs, mediaLayer, layer)
	configDesc := addBlob(blobs, mediaConfig, encode(imageConfig(spec, layerDesc.Digest)))
	manifestDesc := addBlob(blobs, mediaManifest, encode(manifest{
		SchemaVersion: 2, MediaType: mediaManifest, Config: configDesc, Layers: []descriptor{layerDesc},
	}))
	manifestDesc.Platform = &platform{Architecture: spec.Arch, OS: "linux"}

	files := []File{
		{Path: "oci-layout", Mode: 0o644, Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{Path: "index.json", Mode: 0o644, Data: encode(imageIndex(spec.Refs, manifestDesc))},
		{Path: "manifest.json", Mode: 0o644, Data: encode([]dockerManifest{{
			Config: blobPath(configDesc), RepoTags: spec.Refs, Layers: []string{blobPath(layerDesc)},
		}})},
	}
	for path, data := range blobs {
		files = append(files, File{Path: path, Mode: 0o644, Data: data})
	}
	if err := writeTar(w, files); err != nil {
		return fmt.Errorf("build image %s: %w", spec.Refs[0], err)
	}
	return nil
}

// imageIndex lists the one manifest once per reference.
func imageIndex(refs []string, m descriptor) index {
	idx := index{SchemaVersion: 2, MediaType: mediaIndex}
	for _, ref := range refs {
		m.Annotations = map[string]string{annotationCRI: ref, annotationRef: tag(ref)}
		idx.Manifests = append(idx.Manifests, m)
	}
	return idx
}

func imageConfig(spec Spec, diffID string) config {
	env := spec.Env
	if !hasPath(env) {
		env = append([]string{defaultPath}, env...)
	}
	var ports map[string]struct{}
	for _, p := range spec.Ports {
		if ports == nil {
			ports = map[string]struct{}{}
		}
		ports[p] = struct{}{}
	}
	created := epoch.Format(time.RFC3339)
	return config{
		Created: created, Architecture: spec.Arch, OS: "linux",
		Config: containerConfig{
			User: spec.User, ExposedPorts: ports, Env: env, Entrypoint: spec.Entrypoint,
			Cmd: spec.Cmd, WorkingDir: spec.WorkingDir, StopSignal: spec.StopSignal,
		},
		RootFS:  rootfs{Type: "layers", DiffIDs: []string{diffID}},
		History: []history{{Created: created, CreatedBy: "fairlead"}},
	}
}

func hasPath(env []string) bool {
	for _, e := range env {
		if len(e) >= 5 && e[:5] == "PATH=" {
			return true
		}
	}
	return false
}

// tag returns the part of ref after the last colon that follows the last slash.
func tag(ref string) string {
	for i := len(ref) - 1; i >= 0 && ref[i] != '/'; i-- {
		if ref[i] == ':' {
			return ref[i+1:]
		}
	}
	return "latest"
}

func addBlob(blobs map[string][]byte, mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
	blobs[blobPath(d)] = data
	return d
}

func blobPath(d descriptor) string {
	return "blobs/sha256/" + d.Digest[len("sha256:"):]
}

// encode marshals values of this file's types, which cannot fail.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// writeTar writes files, and the directories that lead to them, in the order of their paths.
func writeTar(w io.Writer, files []File) error {
	files, err := complete(files)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, f := range files {
		if err := tw.WriteHeader(f.header()); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return tw.Close()
}
