package image

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// saved is one image of docker's list, manifest.json.
type saved struct {
	Config           string
	RepoTags, Layers []string
}

// found is an image of an archive, with the names the archive has for it; err says why this machine cannot have it.
type found struct {
	tree
	names []string
	err   error
}

// images reads the lists of an archive. The index counts where there are both.
func (f *files) images(unnamed string) ([]Packed, error) {
	var list []saved
	if b, err := f.file(dockerManifests); err == nil {
		if err := decode(b, dockerManifests, &list); err != nil {
			return nil, err
		}
	}
	var all []found
	switch b, err := f.file(ociIndex); {
	case err == nil:
		var root index
		if err := decode(b, ociIndex, &root); err != nil {
			return nil, err
		}
		all = f.indexed(root.Manifests, list)
	case len(list) > 0:
		all = f.saved(list)
	default:
		return nil, errors.New("neither index.json nor manifest.json lists an image in it: save it with docker save or as an OCI archive")
	}
	return pack(all, unnamed)
}

// indexed reads the images of an OCI index. One without a name has those of docker's list.
func (f *files) indexed(listed []descriptor, list []saved) []found {
	all := make([]found, len(listed))
	for i, d := range listed {
		all[i].names = ownNames(d.Annotations)
		if len(all[i].names) == 0 && len(listed) == 1 && len(list) > 0 {
			all[i].names = list[0].RepoTags
		}
		all[i].tree, all[i].err = f.tree(d, 0)
		if rank(d.Platform) == unfit && all[i].err == nil {
			all[i].err = fmt.Errorf("%s is for %s, and %w", d.Digest, d.Platform, errForeign)
		}
	}
	return all
}

// ownNames is the name that an entry of an index has: containerd's, or a reference that is more than a tag.
func ownNames(annotations map[string]string) []string {
	for _, key := range []string{annotationCRI, annotationRef} {
		if name := annotations[key]; name != "" && (key == annotationCRI || strings.ContainsAny(name, "/:@")) {
			return []string{name}
		}
	}
	return nil
}

// saved reads the images of docker's list. They get manifests, which docker does not save.
func (f *files) saved(list []saved) []found {
	all := make([]found, len(list))
	for i, s := range list {
		all[i].names = slices.DeleteFunc(slices.Clone(s.RepoTags), func(tag string) bool { return tag == "" })
		all[i].tree, all[i].err = f.savedImage(s)
	}
	return all
}

func (f *files) savedImage(s saved) (tree, error) {
	config, err := f.savedFile(s.Config)
	if err != nil {
		return tree{}, err
	}
	config.MediaType = mediaConfig
	ids, err := diffIDs(config)
	if err != nil {
		return tree{}, err
	}
	layers := make([]Blob, len(s.Layers))
	for i, name := range s.Layers {
		if layers[i], err = f.savedFile(name); err != nil {
			return tree{}, err
		}
		layers[i].MediaType = layerType(layers[i])
	}
	t, err := assemble(config, layers, ids)
	if err != nil {
		return tree{}, err
	}
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest, Config: describe(config), Layers: make([]descriptor, len(layers))}
	for i, l := range layers {
		m.Layers[i] = describe(l)
	}
	blobs := map[string][]byte{}
	d := addBlob(blobs, mediaManifest, encode(m))
	t.blobs = append(t.blobs, Blob{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
		Refers: digests(t.blobs), content: bytes.NewReader(blobs[blobPath(d)])})
	return t, nil
}

func describe(b Blob) descriptor {
	return descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
}

// savedFile reads a file of docker's list. One that is named by its digest has to be that.
func (f *files) savedFile(name string) (Blob, error) {
	b, err := f.file(name)
	if err != nil {
		return Blob{}, err
	}
	if b.Digest, err = digest(b); err != nil {
		return Blob{}, err
	}
	stem, _, _ := strings.Cut(path.Base(name), ".")
	if want := "sha256:" + stem; digestForm.MatchString(want) && want != b.Digest {
		return Blob{}, fmt.Errorf("%s is damaged: its content is %s", name, b.Digest)
	}
	return b, nil
}

// pack gives the images their full names. Of several images with one name, this machine gets the one that it can run; else the last.
func pack(all []found, unnamed string) ([]Packed, error) {
	var images []Packed
	for i, image := range all {
		instead := func(other found) bool {
			return other.err == nil && (len(image.names) == 0 || slices.Equal(other.names, image.names))
		}
		if errors.Is(image.err, errForeign) && slices.ContainsFunc(all, instead) {
			continue
		}
		names, err := fullNames(append(image.names, fallback(len(image.names) == 0, unnamed, i)...))
		if err != nil {
			return nil, err
		}
		if image.err != nil {
			return nil, fmt.Errorf("%s: %w", names[0], image.err)
		}
		for k := range images {
			images[k].Names = slices.DeleteFunc(images[k].Names, func(name string) bool { return slices.Contains(names, name) })
		}
		images = merge(images, Packed{names, image.blobs, image.variants})
	}
	images = slices.DeleteFunc(images, func(p Packed) bool { return len(p.Names) == 0 })
	if len(images) == 0 {
		return nil, errors.New("index.json lists no image")
	}
	return images, nil
}

// merge adds an image, or its names to the same image.
func merge(images []Packed, one Packed) []Packed {
	for i := range images {
		if images[i].Target().Digest == one.Target().Digest {
			images[i].Names = append(images[i].Names, one.Names...)
			return images
		}
	}
	return append(images, one)
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

// fullNames are names with registry, path and tag, as pods' images are looked up.
func fullNames(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		parsed, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fmt.Errorf("%q is not a name of an image: %w", name, err)
		}
		if full := reference.TagNameOnly(parsed).String(); !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	return out, nil
}
