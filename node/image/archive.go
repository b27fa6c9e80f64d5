package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// Normalize writes an archive, as docker, podman and others save images, in the form that every containerd reads: not compressed,
// each image under its full name ("nginx:1.25" is docker.io/library/nginx:1.25). It returns the names in it. An image that the
// archive gives no name is called unnamed. The archive is kept in spool meanwhile.
func Normalize(out io.Writer, archive io.Reader, spool io.ReadWriteSeeker, unnamed string) ([]string, error) {
	plain, err := decompress(archive)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(spool, plain); err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	lists, err := readLists(spool)
	if err != nil {
		return nil, err
	}
	changed, names, err := rename(lists, unnamed)
	if err != nil {
		return nil, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return names, copyTar(out, spool, changed)
}

// decompress undoes a compression by what the archive begins with.
func decompress(archive io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(archive)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, errors.New("image archive: it is empty")
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		plain, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
		return plain, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, errors.New("image archive: it is compressed with zstd: decompress it first, as in zstd -dc FILE | fairlead image import -")
	}
	return buffered, nil
}

// Names of the lists of images in an archive: of the OCI image layout, and of docker save.
const (
	ociIndex        = "index.json"
	dockerManifests = "manifest.json"
)

// readLists reads the lists of images of a tar.
func readLists(archive io.ReadSeeker) (map[string][]byte, error) {
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	lists := map[string][]byte{}
	for files := tar.NewReader(archive); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("image archive: not a tar: %w", err)
		}
		name := strings.TrimPrefix(header.Name, "./")
		if name != ociIndex && name != dockerManifests {
			continue
		}
		if lists[name], err = io.ReadAll(io.LimitReader(files, 8<<20)); err != nil {
			return nil, fmt.Errorf("image archive: %s: %w", name, err)
		}
	}
	if len(lists) == 0 {
		return nil, errors.New("image archive: neither index.json nor manifest.json is in it: save it with docker save or as an OCI archive")
	}
	return lists, nil
}

// rename gives every image of the lists its full names. The index counts where there are both lists, for containerd too.
func rename(lists map[string][]byte, unnamed string) (changed map[string][]byte, names []string, err error) {
	var saved []map[string]any
	if text := lists[dockerManifests]; text != nil {
		if err := json.Unmarshal(text, &saved); err != nil {
			return nil, nil, fmt.Errorf("image archive: manifest.json: %w", err)
		}
	}
	if text := lists[ociIndex]; text != nil {
		names, index, err := renameIndex(text, tagsOf(saved), unnamed)
		return map[string][]byte{ociIndex: index}, names, err
	}
	for i, image := range saved {
		full, err := fullNames(append(tagsOf(saved[i:i+1]), fallback(len(tagsOf(saved[i:i+1])) == 0, unnamed, i)...))
		if err != nil {
			return nil, nil, err
		}
		image["RepoTags"] = full
		names = append(names, full...)
	}
	return map[string][]byte{dockerManifests: encode(saved)}, names, nil
}

// fallback is the name of an image without one; those after the first get a number.
func fallback(needed bool, unnamed string, number int) []string {
	switch {
	case !needed:
		return nil
	case number == 0:
		return []string{unnamed}
	}
	return []string{fmt.Sprintf("%s-%d", unnamed, number)}
}

func tagsOf(saved []map[string]any) []string {
	var tags []string
	for _, image := range saved {
		list, _ := image["RepoTags"].([]any)
		for _, tag := range list {
			if text, ok := tag.(string); ok && text != "" {
				tags = append(tags, text)
			}
		}
	}
	return tags
}

// renameIndex names the images of an OCI index. tags are those of docker's list, for an index that has no names.
func renameIndex(text []byte, tags []string, unnamed string) (names []string, renamed []byte, err error) {
	var index map[string]any
	var manifests []any
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, nil, fmt.Errorf("image archive: index.json: %w", err)
	}
	listed, _ := index["manifests"].([]any)
	if len(listed) == 0 {
		return nil, nil, errors.New("image archive: index.json lists no image")
	}
	for i, m := range listed {
		descriptor, ok := m.(map[string]any)
		if !ok {
			return nil, nil, errors.New("image archive: index.json: an entry is not a descriptor")
		}
		annotations, _ := descriptor["annotations"].(map[string]any)
		own := ownNames(annotations)
		if len(own) == 0 && len(listed) == 1 {
			own = tags
		}
		full, err := fullNames(append(slices.Clone(own), fallback(len(own) == 0, unnamed, i)...))
		if err != nil {
			return nil, nil, err
		}
		for _, name := range full {
			manifests = append(manifests, named(descriptor, annotations, name))
		}
		names = append(names, full...)
	}
	index["manifests"] = manifests
	return names, encode(index), nil
}

// ownNames is the name that an entry of an index has: containerd's, or a reference that is more than a tag.
func ownNames(annotations map[string]any) []string {
	for _, key := range []string{annotationCRI, annotationRef} {
		if name, _ := annotations[key].(string); name != "" && (key == annotationCRI || strings.ContainsAny(name, "/:@")) {
			return []string{name}
		}
	}
	return nil
}

// named is a copy of a descriptor with a name.
func named(descriptor, annotations map[string]any, name string) map[string]any {
	out, about := map[string]any{}, map[string]any{}
	for k, v := range descriptor {
		out[k] = v
	}
	for k, v := range annotations {
		about[k] = v
	}
	about[annotationCRI], about[annotationRef] = name, name
	out["annotations"] = about
	return out
}

// fullNames are names with registry, path and tag, as pods' images are looked up.
func fullNames(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		parsed, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fmt.Errorf("image archive: %q is not a name of an image: %w", name, err)
		}
		if full := reference.TagNameOnly(parsed).String(); !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	return out, nil
}

// copyTar copies a tar with other content for some of its files.
func copyTar(out io.Writer, archive io.Reader, changed map[string][]byte) error {
	to := tar.NewWriter(out)
	for files := tar.NewReader(archive); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return to.Close()
		}
		if err != nil {
			return fmt.Errorf("image archive: %w", err)
		}
		content := io.Reader(files)
		if text, ok := changed[strings.TrimPrefix(header.Name, "./")]; ok {
			header.Size, content = int64(len(text)), bytes.NewReader(text)
		}
		if err := to.WriteHeader(header); err != nil {
			return fmt.Errorf("image archive: %s: %w", header.Name, err)
		}
		if _, err := io.Copy(to, content); err != nil {
			return fmt.Errorf("image archive: %s: %w", header.Name, err)
		}
	}
}

// NameOf is what an image is called that has no name in its archive: after the file, without what says how it is packed.
func NameOf(file string) string {
	base := strings.ToLower(filepath.Base(file))
	for _, end := range []string{".gz", ".tgz", ".tar", ".oci"} {
		base = strings.TrimSuffix(base, end)
	}
	name := strings.Trim(notInNames.ReplaceAllString(base, "-"), "-._")
	if name == "" {
		return "imported"
	}
	return name
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)
